package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer/sftptest"
)

// clock sets the wall clock to a time after noon.
func (h *house) clock(after time.Duration) {
	h.agent.Now = func() time.Time { return noon.Add(after) }
}

func (h *house) revocations(q agent.RevocationQuery) *agent.RevocationReport {
	h.t.Helper()
	report, err := h.agent.Revocations(context.Background(), q)
	h.must(err)
	return report
}

// only is the one revocation of a person, as the report says it.
func (h *house) only(person string) agent.Revocation {
	h.t.Helper()
	list := h.revocations(agent.RevocationQuery{Subject: phi.Bytes(person)}).Revocations
	if len(list) != 1 {
		h.t.Fatalf("%d revocations of one person: %+v", len(list), list)
	}
	return list[0]
}

func (h *house) archiveKey() string { return filepath.Join(h.world.Dir, "archive-identity.txt") }

func (h *house) sentAbout(person string) []agent.SentDrop {
	h.t.Helper()
	sent, _, err := h.agent.SentAbout(context.Background(), phi.Bytes(person), h.archiveKey())
	h.must(err)
	return sent
}

// TestRevocationIsMeasured: from the day it was signed and from its file to the
// first decision that had it in hand, in each exchange; what was voided because
// of it, and what had been sent before.
func TestRevocationIsMeasured(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	h.run(treatment, agent.RunOptions{})
	h.run(scores, agent.RunOptions{})
	before := h.revocations(agent.RevocationQuery{})
	first := h.drop(scores, 1)
	person, _, member := h.released(first)
	h.deny(person) // its file is of 11:00

	if now := h.revocations(agent.RevocationQuery{}); len(now.Revocations) != len(before.Revocations) || len(now.Unread) != 0 {
		t.Fatalf("nothing has read the denial, its file has the old time: %+v", now.Unread)
	}
	written := noon.Add(-time.Minute)
	h.must(os.Chtimes(filepath.Join(h.dir, consentsCSV), written, written))
	unread := h.revocations(agent.RevocationQuery{Over: 30 * time.Second})
	if len(unread.Unread) != 1 || unread.Unread[0].Input != "consents" || unread.Unread[0].Seconds != 60 || unread.Late != 1 {
		t.Errorf("a file that nothing has read yet: %+v, %d late", unread.Unread, unread.Late)
	}

	h.clock(30 * time.Minute)
	if done := h.deliver(scores); done[0].State != "voided" {
		t.Fatalf("delivery: %+v", done)
	}
	got := h.only(person)
	want := agent.Revocation{Kind: "denied", Input: "consents", Day: "2026-07-04", Written: written, Read: noon.Add(30 * time.Minute)}
	if got.Kind != want.Kind || got.Input != want.Input || got.Day != want.Day || !got.Written.Equal(want.Written) || !got.Read.Equal(want.Read) || !got.Over.IsZero() {
		t.Errorf("got %+v, want %+v", got, want)
	}
	// 2026-07-04 began at 05:00 UTC in Chicago.
	effects := []agent.Effect{
		{Exchange: scores, InEffect: noon.Add(30 * time.Minute), Made: "delivery", Number: 2, SinceDay: 31*3600 + 1800, SinceFile: 31 * 60, Voided: []int64{2}},
		{Exchange: treatment, SinceDay: 31*3600 + 1800, SinceFile: 31 * 60},
	}
	if !sameJSON(t, got.Exchanges, effects) {
		t.Errorf("in effect: %+v\nwant %+v", got.Exchanges, effects)
	}

	h.clock(2 * time.Hour)
	late := h.revocations(agent.RevocationQuery{Over: 32 * time.Hour, Since: "2026-07-05", Exchange: treatment})
	if late.Late != 1 || len(late.Revocations) != 1 || late.Revocations[0].Exchanges[0].SinceDay != 33*3600 {
		t.Errorf("what waits longer than 32 hours: %+v", late)
	}
	h.run(treatment, agent.RunOptions{})
	if e := h.only(person).Exchanges[1]; !e.InEffect.Equal(noon.Add(2*time.Hour)) || e.Made != "run" || e.Number != 2 || e.SinceFile != 2*3600+60 || e.Voided != nil {
		t.Errorf("after the run: %+v", e)
	}
	if late := h.revocations(agent.RevocationQuery{Over: 32 * time.Hour, Since: "2026-07-05"}); late.Late != 0 {
		t.Errorf("all of it is in effect: %+v", late)
	}
	for _, l := range h.revocations(agent.RevocationQuery{Subject: phi.Bytes(person)}).Latency {
		seconds := map[string]int64{scores: 31 * 60, treatment: 2*3600 + 60}[l.Exchange]
		if l.InEffect != 1 || l.NotYet != 0 || l.Median != seconds || l.Longest != seconds {
			t.Errorf("latency: %+v", l)
		}
	}

	rows := int64(0)
	for _, line := range first.rows() {
		if strings.HasPrefix(line, member+",") {
			rows++
		}
	}
	sent := h.sentAbout(person)
	if len(sent) != 1 || sent[0].Number != 1 || sent[0].Recipient != synthetic.HealthPlan || sent[0].State != "hash-verified" || !sent[0].Sent.Equal(noon) ||
		rows == 0 || len(sent[0].Rows) != 1 || sent[0].Rows["scores"] != rows {
		t.Errorf("sent about the person: %+v, of %d rows", sent, rows)
	}
	h.noIDInState(person)
}

func sameJSON(t *testing.T, a, b any) bool {
	t.Helper()
	x, err := json.Marshal(a)
	y, err2 := json.Marshal(b)
	if err != nil || err2 != nil {
		t.Fatal(err, err2)
	}
	return bytes.Equal(x, y)
}

// noIDInState reads the database as bytes.
func (h *house) noIDInState(person string) {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.dir, "state", "postern.db*"))
	h.must(err)
	for _, path := range found {
		text, err := os.ReadFile(path)
		h.must(err)
		if bytes.Contains(text, []byte(person)) {
			h.t.Errorf("%s holds the person's id", filepath.Base(path))
		}
	}
}

// TestRevocationEndsAndComesBack: an end is told; what closes again afterwards
// is a revocation of its own.
func TestRevocationEndsAndComesBack(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	h.run(scores, agent.RunOptions{})
	person, _, _ := h.released(h.drop(scores, 1))
	row := h.deny(person)
	ended := strings.TrimSuffix(row, ",,") + ",2026-07-05,privacy officer"
	for i, next := range []string{row, ended, row} {
		h.clock(time.Duration(i) * time.Hour)
		h.change(consentsCSV, func(line string) string {
			if strings.HasPrefix(line, person+",") {
				return next
			}
			return line
		})
		h.run(scores, agent.RunOptions{})
	}
	list := h.revocations(agent.RevocationQuery{Subject: phi.Bytes(person)}).Revocations
	if len(list) != 2 || !list[0].Read.Equal(noon) || !list[0].Over.Equal(noon.Add(time.Hour)) || !list[1].Read.Equal(noon.Add(2*time.Hour)) || !list[1].Over.IsZero() {
		t.Errorf("%+v", list)
	}
}

// TestReadingBetweenClaimsNothing: a run that had read its inputs before
// another one met a denial does not count as the decision by which it took
// effect.
func TestReadingBetweenClaimsNothing(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	h.run(scores, agent.RunOptions{})
	person, _, _ := h.released(h.drop(scores, 1))
	meanwhile := false
	h.run(treatment, agent.RunOptions{Progress: func(string, int64) {
		if !meanwhile {
			meanwhile = true
			h.deny(person)
			h.run(scores, agent.RunOptions{})
		}
	}})
	effects := h.only(person).Exchanges
	if !meanwhile || len(effects) != 2 || effects[0].Number != 2 || !effects[1].InEffect.IsZero() {
		t.Fatalf("in effect: %+v", effects)
	}
	h.run(treatment, agent.RunOptions{})
	if e := h.only(person).Exchanges[1]; e.Number != 2 {
		t.Errorf("after a run that has it: %+v", e)
	}
}

// TestSentAbout: under every id that was merged, by dataset, also what was
// broken off; and no answer without the right key and the very index that the
// ledger names.
func TestSentAbout(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	person := h.optedIn()[0]
	h.run(treatment, agent.RunOptions{})
	rows := map[string]int64{}
	for _, line := range h.drop(treatment, 1).rows() {
		var resource struct{ ResourceType, ID string }
		h.must(json.Unmarshal([]byte(line), &resource))
		if resource.ResourceType == "Patient" && resource.ID == person || strings.Contains(line, `"Patient/`+person+`"`) {
			rows[resource.ResourceType]++
		}
	}
	if sent := h.sentAbout(person); len(sent) != 0 {
		t.Errorf("nothing has left: %+v", sent)
	}
	h.deliver(treatment)
	if sent := h.sentAbout(person); len(sent) != 1 || !sameJSON(t, sent[0].Rows, rows) || len(rows) < 3 {
		t.Errorf("sent %+v, want %v", sent, rows)
	}

	h.run(scores, agent.RunOptions{})
	d := h.drop(scores, 1)
	other, _, _ := h.released(d)
	h.breaking(scores, sftptest.Options{CutAfter: d.sizes[d.manifest.Files[0].Name] + 100, Refuse: []string{"Remove"}})
	if _, err := h.agent.Deliver(context.Background(), scores); agent.ExitCode(err) != int(agent.DestinationDown) {
		t.Fatalf("delivery over a cut connection: %v", err)
	}
	h.add(consentsCSV, registry(other, "general", "permit", "revoked", "2026-07-04", ""))
	if done := h.deliver(scores); done[0].State != "voided" {
		t.Fatalf("delivery: %+v", done)
	}
	if v := h.only(other); v.Kind != "revoked" || v.Day != "" || !slices.Equal(v.Exchanges[0].Voided, []int64{1}) {
		t.Errorf("the revocation: %+v", v)
	}
	if sent := h.sentAbout(other); len(sent) != 1 || sent[0].State != "voided" || !strings.Contains(sent[0].Note, "possibly disclosed in part") {
		t.Errorf("what may have been seen in part: %+v", sent)
	}

	h.write("inputs/merges.csv", "from,into\n"+person+",NEW-ID\n")
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "\ninputs:\n", "\ninputs:\n  merges: {kind: merges, file: inputs/merges.csv, max_age: 1 hour, shrink_limit: 0%}\n", 1))
	h.open(hclog.NewNullLogger())
	h.clock(48 * time.Hour) // the list of merges is too old for a run, not for an answer
	if sent := h.sentAbout("NEW-ID"); len(sent) != 1 || !sameJSON(t, sent[0].Rows, rows) {
		t.Errorf("under the id that stands now: %+v", sent)
	}

	refused := func(key string, class agent.Class) {
		t.Helper()
		sent, _, err := h.agent.SentAbout(context.Background(), phi.Bytes(person), key)
		if agent.ExitCode(err) != int(class) || sent != nil || strings.Contains(fmt.Sprint(err), person) {
			t.Errorf("%+v, %v", sent, err)
		}
	}
	refused(filepath.Join(t.TempDir(), "none"), agent.KeyTrouble)
	refused(filepath.Join(h.recipient(scores).Dir, "keys", "identity.txt"), agent.KeyTrouble)
	index := func(exchange string) string {
		found, err := filepath.Glob(filepath.Join(h.dir, "state", "drops", h.query(`SELECT dir FROM delivery WHERE exchange = ?`, exchange), "private", "*.row-index.*"))
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0]
	}
	text, err := os.ReadFile(index(treatment))
	h.must(err)
	text[len(text)-20] ^= 1
	h.must(os.WriteFile(index(treatment), text, 0o600))
	refused(h.archiveKey(), agent.Altered)
	another, err := os.ReadFile(index(scores)) // it opens, and is not this drop's
	h.must(err)
	h.must(os.WriteFile(index(treatment), another, 0o600))
	refused(h.archiveKey(), agent.Altered)
	h.must(os.Remove(index(treatment)))
	refused(h.archiveKey(), agent.Altered)
}

// TestRevocationTellsTheRecipientNothing: what follows a revocation is, byte for
// byte of what the recipient can read, what it would be had the clinic never
// seen the person again.
func TestRevocationTellsTheRecipientNothing(t *testing.T) {
	t.Parallel()
	for exchange, c := range map[string]struct {
		whom   func(*house) (person, known string)
		revoke func(h *house, person string)
		files  []string
	}{
		scores: {func(h *house) (string, string) {
			person, _, member := h.released(h.drop(scores, 1))
			return person, member
		}, func(h *house, person string) { h.deny(person) }, []string{scoresCSV}},
		treatment: {func(h *house) (string, string) { person := h.optedIn()[0]; return person, "Patient/" + person }, func(h *house, person string) {
			if n := h.change(consentsCSV, func(line string) string {
				if strings.HasPrefix(line, person+",general,permit,") {
					return strings.Replace(line, ",active,", ",revoked,", 1)
				}
				return line
			}); n != 1 {
				h.t.Fatalf("%d rows were revoked", n)
			}
		}, []string{patientsND, encountersND, observationsND, conditionsND}},
	} {
		t.Run(exchange, func(t *testing.T) {
			t.Parallel()
			base := build(t, synthetic.Options{Patients: 200})
			base.run(exchange, agent.RunOptions{})
			base.deliver(exchange)
			person, known := c.whom(base)
			if !has(base.drop(exchange, 1), known) {
				t.Fatal("the person was not released")
			}
			revoked, gone := base.copied(), base.copied()
			c.revoke(revoked, person)
			removed := 0
			for _, name := range c.files {
				removed += gone.change(name, func(line string) string {
					if strings.Contains(line, person) {
						return ""
					}
					return line
				})
			}
			for number := int64(2); number <= 3; number++ {
				a, b := revoked.run(exchange, agent.RunOptions{}), gone.run(exchange, agent.RunOptions{})
				if removed == 0 || a.Released != b.Released || a.Source != b.Source+int64(removed) {
					t.Fatalf("of %d records %d were released, of %d without %d of the person %d", a.Source, a.Released, b.Source, removed, b.Released)
				}
				d, other := revoked.drop(exchange, number), gone.drop(exchange, number)
				if number == 2 {
					sameForRecipient(t, d, other)
				}
				if !maps.EqualFunc(d.parts, other.parts, bytes.Equal) || !maps.Equal(d.sizes, other.sizes) { // later ones name the ciphertexts of earlier ones
					t.Errorf("the plaintexts of drop %d differ", number)
				}
				if has(d, known) {
					t.Error("the person is in a later drop")
				}
			}
			if e := revoked.only(person).Exchanges; len(e) != 1 || e[0].Number != 2 || e[0].Voided != nil {
				t.Errorf("in effect: %+v", e)
			}
		})
	}
}
