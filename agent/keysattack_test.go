package agent_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/internal/synthetic"
)

// Two people looked at the rows of some; when the same run meets as many rows of
// others, because one denial has begun and another has ended meanwhile, nobody
// has looked at those.
func TestExceptionIsOfTheRowsLookedAt(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	lines := strings.Split(strings.ReplaceAll(h.read(scoresCSV), ","+notation+",", ",White,"), "\n")
	first, second := "", ""
	for _, m := range regexp.MustCompile(`scores\.csv:([0-9]+)\n`).FindAllStringSubmatch(h.reviewed(h.stopped()), -1) {
		n, err := strconv.Atoi(m[1])
		h.must(err)
		if person := strings.Split(lines[n-1], ",")[1]; person != first && second == "" {
			first, second = person, first
			lines[n-1] = strings.Replace(lines[n-1], ",White,", ","+notation+",", 1)
		}
	}
	h.write(scoresCSV, strings.Join(lines, "\n"))
	h.add(consentsCSV, registry(first, "general", "deny", "active", "2026-07-01", "2026-07-05"), registry(second, "general", "deny", "active", "2026-07-06", ""))
	before := h.stopped()
	h.excepted(before.ID)
	h.agent.Now = func() time.Time { return noon.Add(22 * time.Hour) }
	after := h.stopped()
	if after.ID != before.ID || after.Rows != before.Rows {
		t.Errorf("%s with %d rows, then %s with %d: the test has not met the same run", before.ID, before.Rows, after.ID, after.Rows)
	}
	h.excepted(after.ID)
	if o := h.run(scores, agent.RunOptions{}); o.Number != 1 {
		t.Errorf("drop %d", o.Number)
	}
}

// A file that is gone, cut short or another one is nothing that two people can
// have looked at, even where it was encrypted to the same public key.
func TestExceptionNeedsTheFileThatWasKept(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	q := h.stopped()
	e, err := h.agent.ProposeException(context.Background(), q.ID, falseAlarm, "codes are written CODE@SYSTEM")
	h.must(err)
	raw, err := os.ReadFile(q.File)
	h.must(err)
	key, err := age.ParseX25519Recipient(h.agent.Config.Keys.Review)
	h.must(err)
	var other bytes.Buffer
	w, err := age.Encrypt(&other, key)
	h.must(err)
	_, err = w.Write([]byte("postern quarantine/v1\nnothing to see\n"))
	h.must(errors.Join(err, w.Close()))
	for name, text := range map[string][]byte{"replaced": other.Bytes(), "cut": raw[:len(raw)-1], "empty": {}, "gone": nil} {
		h.must(os.WriteFile(q.File, text, 0o600))
		if text == nil {
			h.must(os.Remove(q.File))
		}
		if _, err := h.agent.ProposeException(context.Background(), q.ID, falseAlarm, "x"); classOf(err) != agent.Altered {
			t.Errorf("%s: an exception is proposed: %v", name, err)
		}
		if _, err := h.agent.Except(context.Background(), q.ID, [][]byte{h.signedAs("privacy-officer", e.Statement)}); classOf(err) != agent.Altered {
			t.Errorf("%s: an exception is signed: %v", name, err)
		}
	}
	if _, err := h.agent.Quarantines(context.Background(), scores); err != nil {
		t.Errorf("it is not even listed: %v", err)
	}
	h.must(h.agent.Discard(context.Background(), q.ID, "x"))
	h.excepted(h.stopped().ID) // run again it is kept again
}

func (h *house) signedAs(name, statement string) []byte {
	h.t.Helper()
	key, err := os.ReadFile(filepath.Join(h.world.ApproverKeys(), name))
	h.must(err)
	signature, err := agent.SignStatement([]byte(statement+"\n"), key)
	h.must(err)
	return signature
}

// A map from the codes of one standard to those of another would join what
// neither lets out alone: that is why an epoch is of one form.
func TestOverlapStaysWithinOneForm(t *testing.T) {
	t.Parallel()
	byCode := strings.Replace(byExpert, "do: token", "do: code", 1)
	unmoved := strings.Replace(byCode, "day:          {from: service_date, do: shift-date, range: 300 days}", "day:          {from: service_date, do: year}", 1)
	sent := func(policy string) *house {
		h := build(t, synthetic.Options{Patients: 40})
		h.write("policies/by-expert.yaml", policy)
		h.write("policies/groups.yaml", "postern: value-set/v1\ntitle: sexes\nsource: the clinic\nlicence: its own\neffective: {from: 2020-01-01, to: open}\nmap: {female: f, F: f, male: m, M: m}\n")
		h.edit("postern.yaml", "exchanges:\n", "exchanges:\n  expert: {id: e1, source: ehr, policy: policies/by-expert.yaml, recipient: national-outcomes-registry}\n")
		h.open(hclog.NewNullLogger())
		h.run("expert", agent.RunOptions{})
		return h
	}
	ctx := context.Background()
	t.Run("the policy changed before", func(t *testing.T) {
		h := sent(byCode)
		h.write("policies/by-expert.yaml", unmoved)
		h.approve("expert")
		if _, err := h.agent.Rotate(ctx, []string{"expert"}, "x", "y", true); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "up to 300 days") {
			t.Errorf("codes beside moved days are mapped to codes beside years: %v", err)
		}
		h.rotate(false, "expert")
		h.run("expert", agent.RunOptions{})
	})
	t.Run("the policy changed after", func(t *testing.T) {
		h := sent(unmoved)
		h.rotate(true, "expert")
		h.write("policies/by-expert.yaml", byCode)
		h.approve("expert")
		if _, err := h.agent.Run(ctx, "expert", agent.RunOptions{}); classOf(err) != agent.PolicyRefused {
			t.Errorf("codes beside years are mapped to codes beside moved days: %v", err)
		}
		h.rotate(false, "expert") // the way out that the error names
		h.run("expert", agent.RunOptions{})
		if n := h.query(`SELECT count(*) FROM epoch WHERE overlap = 1 AND number = (SELECT max(number) FROM epoch)`); n != "0" {
			t.Error("the new epoch still maps")
		}
	})
}

// A drop that waits with a map of old codes in it is a drop of both epochs.
func TestDestroyWaitsForTheMap(t *testing.T) {
	t.Parallel()
	h := codedHouse(t, 60)
	ctx, options := context.Background(), agent.RunOptions{AsOf: day(wholeYear)}
	h.run(scores, options)
	deliverAll(h, scores)
	h.rotate(true, scores, again)
	e, err := h.agent.Doomed(ctx, scores, "", false)
	h.must(err)
	h.run(scores, options)
	if g := h.givenOut(scores, 2); len(g.overlap) == 0 {
		t.Fatal("no map")
	}
	if err := h.agent.Destroy(ctx, e, "x", "y", false); classOf(err) != agent.Undelivered {
		t.Errorf("old codes leave beside new ones after their epoch was destroyed: %v", err)
	}
	if _, err := h.agent.Doomed(ctx, scores, "", false); classOf(err) != agent.Undelivered {
		t.Errorf("they are to be destroyed: %v", err)
	}
	deliverAll(h, scores)
	h.must(h.agent.Destroy(ctx, e, "x", "y", false))
}

// Where the cleaning breaks off, what is said to be run again destroys nothing
// else: by then the exchange may have begun another epoch. Not parallel: faults
// are the process's.
func TestDestroyBrokenOff(t *testing.T) {
	h := codedHouse(t, 40)
	options := agent.RunOptions{AsOf: day(wholeYear)}
	h.run(scores, options)
	deliverAll(h, scores)
	e, err := h.agent.Doomed(context.Background(), scores, "", true)
	h.must(err)
	ctx, cancel := context.WithCancel(context.Background())
	restore := durable.SetFault(func(step string) error {
		if step == "after commit postern.db" {
			cancel()
		}
		return nil
	})
	err = h.agent.Destroy(ctx, e, "x", "y", true)
	restore()
	if err == nil || !strings.Contains(err.Error(), "postern keys destroy --epoch "+e.Name) {
		t.Errorf("what is to be done: %v", err)
	}
	h.run(scores, options)
	e, err = h.agent.Doomed(context.Background(), "", e.Name, false)
	h.must(err)
	h.must(h.agent.Destroy(context.Background(), e, "x", "y", false))
	if n := h.query(`SELECT count(*) FROM epoch WHERE wrapped IS NOT NULL`); n != "1" {
		t.Errorf("%s epochs are left", n)
	}
}

// Whoever pastes the private half of a key where the public one belongs does not
// find it in the log as well.
func TestNoKeyInAMistake(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	good := h.read("postern.yaml")
	const secret = "1QQQSYQCYQ5RQWZQFPG9SCRGWPUGPZYSN"
	for _, c := range [][2]string{
		{`(?m)^  archive: .*$`, "  archive: AGE-SECRET-KEY-" + secret},
		{`(?m)^  review: .*$`, "  review: age-secret-key-" + strings.ToLower(secret)},
		{`encrypt_to: \[[^]]*\]`, "encrypt_to: [AGE-SECRET-KEY-" + secret + "]"},
		{`(?m)^  master: .*$`, "  master: [" + secret + "]"},
		{`(?m)^  master: .*$`, "  master: \"" + secret},
		{`(?m)^  master: .*$`, "  master: " + secret},
		{`(?m)^  master: .*$`, "  master: file:keys/master.key\n  passphrase: {is: " + secret + "}"},
		{`(?m)^keys:$`, "keys: " + secret},
	} {
		text := regexp.MustCompile(c[0]).ReplaceAllString(good, c[1])
		if text == good {
			t.Fatalf("%s matches nothing", c[0])
		}
		h.write("postern.yaml", text)
		_, err := agent.Open(context.Background(), filepath.Join(h.dir, "postern.yaml"), hclog.NewNullLogger())
		var failure *agent.Failure
		if !errors.As(err, &failure) {
			t.Fatalf("%s: %v", c[1], err)
		}
		var out strings.Builder
		out.WriteString(err.Error())
		var mistakes *strictyaml.Errors
		if errors.As(err, &mistakes) {
			h.must(mistakes.Render(&out))
		}
		if strings.Contains(strings.ToUpper(out.String()), secret) {
			t.Errorf("it is printed:\n%s", out.String())
		}
	}
}

// An exchange that is called otherwise is numbered from one again; under the id
// that it had, a number would be given twice.
func TestRenamedExchange(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	h.stopped() // so that folders of drops do not meet by chance
	h.write(scoresCSV, strings.ReplaceAll(h.read(scoresCSV), ","+notation+",", ",White,"))
	h.run(scores, agent.RunOptions{})
	h.edit("postern.yaml", "  acme-scores:", "  acme-phq:")
	h.approve("acme-phq")
	_, err := h.agent.Run(context.Background(), "acme-phq", agent.RunOptions{AsOf: demo.AsOf()})
	if classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "has the id x7, under which drops of acme-scores are numbered") {
		t.Errorf("%v: %s", err, h.query(`SELECT group_concat(exchange || ' ' || dir) FROM delivery`))
	}
	h.edit("postern.yaml", "{id: x7,", "{id: y7,")
	h.run("acme-phq", agent.RunOptions{})
}

// What was kept of an exchange that is no longer configured can be removed.
func TestDiscardOfARetiredExchange(t *testing.T) {
	t.Parallel()
	h := suspicious(t)
	q := h.stopped()
	h.edit("postern.yaml", "  acme-scores:", "  acme-phq:")
	h.must(h.agent.Discard(context.Background(), q.ID, "x"))
	if n := h.query(`SELECT count(*) FROM ledger_entry WHERE CAST(event AS TEXT) LIKE '%"kind":"quarantine-discarded"%"exchange":"x7"%' OR CAST(event AS TEXT) LIKE '%"exchange":"x7"%"kind":"quarantine-discarded"%'`); n != "1" {
		t.Errorf("the ledger has %s entries of it", n)
	}
	if _, err := os.Stat(q.File); err == nil {
		t.Error("it is still there")
	}
}

// Of two age1… lines the wrong one is soon pasted; then the recipient could read
// what the gate stopped, or the clinic could never read its own archive.
func TestRecipientHasAKeyOfItsOwn(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 20})
	good := h.read("postern.yaml")
	theirs := regexp.MustCompile(`encrypt_to: \[([^]]*)\]`).FindStringSubmatch(good)[1]
	for _, own := range []string{"archive", "review"} {
		h.write("postern.yaml", regexp.MustCompile(`(?m)^  `+own+`: .*$`).ReplaceAllString(good, "  "+own+": "+theirs))
		if _, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml")); classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "encrypt_to[0]: this is the clinic's archive or review key") {
			t.Errorf("%s: %v", own, err)
		}
	}
}
