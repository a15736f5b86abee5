package agent_test

import (
	"bytes"
	"context"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
)

func (h *house) standing(exchange string) agent.ExchangeStatus {
	h.t.Helper()
	list, err := h.agent.Status(context.Background())
	h.must(err)
	return list[slices.IndexFunc(list, func(s agent.ExchangeStatus) bool { return s.Exchange == exchange })]
}

func (h *house) at(clock string) {
	h.t.Helper()
	at, err := time.ParseInLocation("2006-01-02T15:04", clock, h.agent.Config.Zone)
	h.must(err)
	h.agent.Now = func() time.Time { return at }
}

// A second drop waits until the recipient takes the next, and is seen to; one of
// which a part may be there goes on.
func TestDropsApart(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.edit("postern.yaml", `schedule: "0 3 * * 1"`, `apart: 2 hours`)
	h.at("2026-07-05T07:00")
	h.run(treatment, agent.RunOptions{})
	if done := h.deliver(treatment); len(done) != 1 || h.standing(treatment).Waits != "" {
		t.Fatalf("%+v", done)
	}
	h.run(treatment, agent.RunOptions{})
	h.run(treatment, agent.RunOptions{})
	h.at("2026-07-05T08:59")
	_, err := h.agent.Deliver(context.Background(), treatment)
	if classOf(err) != agent.Undelivered || !strings.Contains(err.Error(), "drop 2 of hie-treatment waits until 2026-07-05T09:00: the recipient wants them apart") {
		t.Fatalf("a minute before: %v", err)
	}
	drops, err := h.agent.Drops(context.Background(), treatment)
	h.must(err)
	if h.standing(treatment).Waits != "2026-07-05T09:00" || h.state(treatment, 2) != "sealed" || !strings.Contains(drops[1].Problem, "waits until") {
		t.Errorf("%+v, %+v", h.standing(treatment), drops[1])
	}
	h.at("2026-07-05T09:00")
	done, err := h.agent.Deliver(context.Background(), treatment)
	if len(done) != 1 || done[0].Number != 2 || classOf(err) != agent.Undelivered || h.standing(treatment).Waits != "2026-07-05T11:00" {
		t.Errorf("one at a time: %+v, %v", done, err)
	}
	h.exec(`UPDATE delivery SET exposed = 1, state = 'uploading' WHERE number = 3`)
	if done := h.deliver(treatment); len(done) != 1 {
		t.Errorf("one that had begun: %+v", done)
	}
}

// A drop that comes after the cut-off is told to be late, before and after; so is
// one that was not made.
func TestCutOff(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.edit("postern.yaml", `schedule: "30 2 5 * *"`, `schedule: "30 2 5 * *", cut_off: "0 8 5 * *"`)
	h.edit("postern.yaml", `schedule: "0 3 * * 1"`, `schedule: "0 3 * * 1", cut_off: "0 8 5 * *"`)
	h.edit("postern.yaml", `schedule: "0 4 15 1 *"`, `schedule: "0 4 15 1 *", cut_off: "0 18 * * 5"`)
	checked, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml"))
	h.must(err)
	if w := strings.Join(checked.Warnings, "\n"); strings.Count(w, "no run is scheduled before the cut-off") != 1 || !strings.Contains(w, "exchanges.outcomes-registry: no run") {
		t.Errorf("%q", w)
	}
	log := &bytes.Buffer{}
	h.open(hclog.New(&hclog.LoggerOptions{Output: log, Level: hclog.Warn}))
	h.exec(`INSERT INTO exchange (name, since) VALUES (?, '2026-06-01T00:00') ON CONFLICT (name) DO UPDATE SET since = excluded.since`, outcomes)
	h.at("2026-07-05T07:00")
	h.run(treatment, agent.RunOptions{})
	h.deliver(treatment)
	h.run(scores, agent.RunOptions{}) // and it is not sent
	for exchange, want := range map[string]agent.Calendar{
		treatment: {CutOff: "2026-07-05T08:00", For: "drop 1 is there"},
		scores:    {CutOff: "2026-07-05T08:00", For: "drop 1 waits"},
		outcomes:  {CutOff: "2026-07-10T18:00", For: "no run is scheduled before it", Missed: "2026-07-03T18:00, nothing was made for it"},
	} {
		if got := h.standing(exchange); got.Calendar != want || exchange == outcomes && got.Attention != 1 {
			t.Errorf("%s before: %+v", exchange, got)
		}
	}
	h.at("2026-07-05T09:00")
	if got := h.standing(scores).Calendar; got.Missed != "2026-07-05T08:00, drop 1 waits" || got.For != "a run at 2026-08-05T02:30" {
		t.Errorf("after it: %+v", got)
	}
	h.deliver(scores)
	drops, err := h.agent.Drops(context.Background(), scores)
	h.must(err)
	if !drops[0].Late || h.standing(scores).Missed != "2026-07-05T08:00, drop 1 came late" || h.standing(treatment).Missed != "" ||
		!strings.Contains(log.String(), "the drop came after its cut-off: tell the recipient") {
		t.Errorf("%+v, %s", drops[0], log)
	}
	if strings.Contains(log.String(), "has passed") {
		t.Error("it was called late before it was")
	}
	h.exec(`INSERT INTO occurrence (exchange, civil, state) VALUES (?, '2026-07-05T02:30', 'due')`, scores)
	_, err = h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: extract.NoDay, Occurrence: "2026-07-05T02:30"})
	h.must(err)
	if !strings.Contains(log.String(), "the cut-off has passed, so this drop will come late") {
		t.Errorf("%s", log)
	}
	var told string
	for entry, err := range h.agent.LedgerEntries(context.Background()) {
		h.must(err)
		told += string(entry.Text)
	}
	if strings.Count(told, `"cut_off":"2026-07-05T08:00","late":true`) != 1 || strings.Count(told, `"cut_off":"2026-07-05T08:00","late":false`) != 1 {
		t.Errorf("the ledger has %s", told)
	}
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), `cut_off: "0 18 * * 5"`, "cut_off: fridays", 1))
	if _, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml")); err == nil || !strings.Contains(err.Error(), "exchanges.outcomes-registry.cut_off") {
		t.Errorf("no times: %v", err)
	}
}

// The example of docs/destinations.md is one of an exchange.
func TestPageOfCalendar(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	text := h.read("postern.yaml")
	from, to := strings.Index(text, "  acme-scores:"), strings.Index(text, "  hie-treatment:")
	h.write("postern.yaml", text[:from]+strings.TrimPrefix(block(t, "destinations.md", "calendar"), "exchanges:\n")+text[to:])
	checked, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml"))
	h.must(err)
	if len(checked.Warnings) != 0 {
		t.Errorf("%q", checked.Warnings)
	}
}
