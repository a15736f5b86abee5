package agent_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/synthetic"
)

const again = "acme-again"

// codedHouse is a clinic that sends a plan its members' scores twice, in two
// exchanges of one epoch, with a code of each person beside the member's number,
// by which the tests know who is who.
func codedHouse(t *testing.T, patients int) *house {
	t.Helper()
	h := build(t, synthetic.Options{Patients: patients})
	h.edit("policies/acme-scores.yaml", "audit back to the source record}\n", "audit back to the source record}\n      person: {from: person_id, do: code, because: joins}\n")
	line := "  acme-scores:"
	text := h.read("postern.yaml")
	at := strings.Index(text, line)
	first, _, _ := strings.Cut(text[at:], "\n")
	second := strings.Replace(strings.Replace(first, "acme-scores:", again+":", 1), "{id: x7,", "{id: x8,", 1)
	h.edit("postern.yaml", first, first+"\n"+second)
	h.open(hclog.NewNullLogger())
	return h
}

// givenOut is what a drop gives out: codes by member, row keys, and the map.
type givenOut struct {
	codes   map[string]string
	keys    map[string]bool
	overlap map[string]string // old code → new code
	tells   bool              // the part is there
}

func (h *house) givenOut(exchange string, number int64) *givenOut {
	h.t.Helper()
	g := &givenOut{map[string]string{}, map[string]bool{}, map[string]string{}, false}
	d := h.drop(exchange, number)
	for _, p := range d.book["parts"].([]any) {
		part := p.(map[string]any)
		name := part["name"].(string)
		for i, line := range strings.Split(strings.TrimSuffix(string(d.parts[name]), "\n"), "\n") {
			cells := strings.Split(line, ",")
			switch {
			case part["dataset"] == "overlap":
				if g.tells = true; i == 0 {
					if line != "old_code,new_code" || part["part2"] != true {
						h.t.Errorf("the overlap begins with %s, part2 %v", line, part["part2"])
					}
					continue
				}
				g.overlap[cells[0]] = cells[1]
			case i > 0 && part["dataset"] == "scores":
				code, key := cells[len(cells)-2], cells[len(cells)-1]
				if had := g.codes[cells[0]]; had != "" && had != code {
					h.t.Errorf("a member has two codes")
				}
				g.codes[cells[0]], g.keys[key] = code, true
			}
		}
	}
	if len(g.codes) == 0 {
		h.t.Fatal("the drop holds nobody")
	}
	return g
}

// joined is the map as whoever knows the members would write it.
func (old *givenOut) joined(to *givenOut) map[string]string {
	m := map[string]string{}
	for member, code := range to.codes {
		if before, had := old.codes[member]; had {
			m[before] = code
		}
	}
	return m
}

func (h *house) rotate(overlap bool, exchanges ...string) *agent.Rotation {
	h.t.Helper()
	r, err := h.agent.Rotate(context.Background(), exchanges, "the privacy officer", "a copy was lost", overlap)
	h.must(err)
	return r
}

// After a rotation nothing that a drop gives out was given out before, in none
// of the exchanges that share the epoch. With an overlap the drop maps the codes
// of those who are in it and were sent before, and of nobody else.
func TestRotation(t *testing.T) {
	t.Parallel()
	h := codedHouse(t, 120)
	options := agent.RunOptions{AsOf: day(wholeYear)}
	h.run(scores, options)
	late, _, lateMember := h.released(h.drop(scores, 1))
	h.deny(late)
	h.deliver(scores) // voids the drop
	h.run(scores, options)
	h.deliver(scores)
	h.run(again, options)
	old, other := h.givenOut(scores, 2), h.givenOut(again, 1)
	if !maps.Equal(old.codes, other.codes) || old.codes[lateMember] != "" {
		t.Fatal("two exchanges of one epoch do not share their codes, or the denial is forgotten")
	}
	gone, _, goneMember := h.released(h.drop(scores, 2))

	ctx := context.Background()
	_, err := h.agent.Rotate(ctx, []string{scores}, "x", "y", true)
	if classOf(err) != agent.Usage || !strings.Contains(err.Error(), "keys rotate acme-scores acme-again") {
		t.Errorf("one exchange of two was rotated: %v", err)
	}
	if _, err := h.agent.Rotate(ctx, []string{scores, treatment}, "x", "y", false); classOf(err) != agent.Usage {
		t.Errorf("exchanges of two recipients were rotated together: %v", err)
	}
	r := h.rotate(true, again, scores)
	if r.Old != "acme-health-plan/HOPERAT/1" || r.New != "acme-health-plan/HOPERAT/2" || !slices.Equal(r.Exchanges, []string{scores, again}) {
		t.Errorf("the rotation: %+v", r)
	}
	if _, err := h.agent.Rotate(ctx, r.Exchanges, "x", "y", true); classOf(err) != agent.Usage {
		t.Errorf("an epoch that nobody has seen was rotated: %v", err)
	}

	h.deny(gone)
	h.run(scores, options)
	next := h.givenOut(scores, 3)
	for member, code := range next.codes {
		if slices.Contains(slices.Collect(maps.Values(old.codes)), code) {
			t.Errorf("member %s has a code of before", member)
		}
	}
	for key := range next.keys {
		if old.keys[key] || other.keys[key] {
			t.Error("a row key was given out before")
		}
	}
	if next.codes[goneMember] != "" {
		t.Fatal("the denial is not followed")
	}
	if !next.tells || len(next.overlap) != len(old.codes)-1 || !maps.Equal(next.overlap, old.joined(next)) {
		t.Errorf("the map has %d lines, %d people are in both drops", len(next.overlap), len(old.joined(next)))
	}

	// Whoever was in the voided drop only comes back: the old code, which nobody
	// was sent, would tell that it was this person's drop.
	h.change(consentsCSV, func(line string) string {
		if strings.HasPrefix(line, late+",") {
			return strings.TrimSuffix(line, ",,") + ",2026-07-05,privacy officer"
		}
		return line
	})
	h.run(scores, options)
	back := h.givenOut(scores, 4)
	if back.codes[lateMember] == "" {
		t.Fatal("the person did not come back")
	}
	if slices.Contains(slices.Collect(maps.Values(back.overlap)), back.codes[lateMember]) || !maps.Equal(back.overlap, old.joined(back)) {
		t.Error("the map tells of a drop that was voided")
	}
	for member, code := range next.codes {
		if back.codes[member] != code {
			t.Error("codes of the new epoch do not stay")
		}
	}
	h.run(again, options)
	if g := h.givenOut(again, 2); !g.tells || g.codes[lateMember] != back.codes[lateMember] {
		t.Error("the other exchange does not draw from the new epoch")
	}
	if entries := h.query(`SELECT group_concat(CAST(event AS TEXT)) FROM ledger_entry WHERE CAST(event AS TEXT) LIKE '%rotated%'`); !strings.Contains(entries, `"old_epoch":"acme-health-plan/HOPERAT/1"`) || !strings.Contains(entries, "the privacy officer") {
		t.Errorf("the ledger says %s", entries)
	}
	deliverAll(h, scores)
	results := h.receive(scores)
	if last := results[len(results)-1]; last.Rows != int64(len(h.drop(scores, 4).rows())-len(back.overlap)) {
		t.Errorf("the recipient counts %d rows of records", last.Rows)
	}
}

func deliverAll(h *house, exchange string) {
	h.t.Helper()
	for _, d := range h.deliver(exchange) {
		if !strings.HasSuffix(d.State, "verified") {
			h.t.Errorf("drop %d is %s", d.Number, d.State)
		}
	}
}

// A run that is under way while its epoch is rotated commits nothing, and run
// again it draws from the new one.
func TestRotationDuringARun(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(outcomes, agent.RunOptions{})
	rotated := false
	_, err := h.agent.Run(context.Background(), outcomes, agent.RunOptions{Progress: func(string, int64) {
		if !rotated {
			rotated = true
			h.rotate(false, outcomes)
		}
	}})
	if classOf(err) != agent.Locked || !rotated {
		t.Fatalf("the run ended with %v", err)
	}
	if n := h.query(`SELECT (SELECT count(*) FROM delivery) || ' ' || (SELECT count(*) FROM drawn) || ' ' || (SELECT count(DISTINCT epoch) FROM code)`); n != "1 1 1" {
		t.Errorf("drops, draws and epochs with codes: %s", n)
	}
	h.run(outcomes, agent.RunOptions{})
	before, after := map[string]bool{}, 0
	for _, line := range h.drop(outcomes, 1).rows() {
		before[line[:20]] = true
	}
	for _, line := range h.drop(outcomes, 2).rows() {
		if after++; before[line[:20]] {
			t.Fatal("a code of the old epoch leaves")
		}
	}
	if after == 0 {
		t.Error("nothing leaves")
	}
}

// Codes, row keys and a new epoch are part of the commit: where it fails they
// are not there, where it is done and reported as failed they are. Not parallel:
// faults are the process's.
func TestCrosswalkIsPartOfTheCommit(t *testing.T) {
	base := codedHouse(t, 40)
	base.approve(scores)
	run := func(h *house) error {
		_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: day(wholeYear)})
		return err
	}
	h, commits := base.copied(), 0
	restore := durable.SetFault(func(step string) error {
		if strings.HasPrefix(step, "commit ") {
			commits++
		}
		return nil
	})
	err := run(h)
	restore()
	h.must(err)
	want := h.givenOut(scores, 1)
	for _, after := range []bool{false, true} {
		h := base.copied()
		n := 0
		restore := durable.SetFault(func(step string) error {
			if strings.HasPrefix(step, "commit ") {
				n++
			}
			if n == commits && strings.HasPrefix(step, "after ") == after && strings.Contains(step, "commit ") {
				return errFault
			}
			return nil
		})
		err := run(h)
		restore()
		if !errors.Is(err, errFault) {
			t.Fatalf("after=%v: the commit did not fail: %v", after, err)
		}
		held := h.query(`SELECT (SELECT count(*) FROM epoch) || ' ' || (SELECT count(*) FROM drawn) || ' ' || (SELECT count(*) > 0 FROM code) || ' ' || (SELECT count(*) > 0 FROM row_key)`)
		if after && held != "1 1 1 1" || !after && held != "0 0 0 0" {
			t.Errorf("after=%v: epochs, draws, codes, row keys: %s", after, held)
		}
		var before *givenOut
		if after {
			before = h.givenOut(scores, 1)
		}
		h.must(run(h))
		if after && !maps.Equal(before.codes, h.givenOut(scores, 2).codes) {
			t.Error("codes of a commit that was reported as failed do not stay")
		}
		if !after && len(h.givenOut(scores, 1).codes) != len(want.codes) {
			t.Error("the next run holds other people")
		}
	}
}

// Within an epoch dates move by one range only, and a release keeps its standard.
// No map is made where it would tell more than codes.
func TestEpochIsOfOneForm(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40})
	h.write("policies/by-expert.yaml", byExpert)
	h.write("policies/groups.yaml", "postern: value-set/v1\ntitle: sexes\nsource: the clinic\nlicence: its own\neffective: {from: 2020-01-01, to: open}\nmap: {female: f, F: f, male: m, M: m}\n")
	h.edit("postern.yaml", "exchanges:\n", "exchanges:\n  expert: {id: e1, source: ehr, policy: policies/by-expert.yaml, recipient: national-outcomes-registry}\n")
	h.open(hclog.NewNullLogger())
	h.run("expert", agent.RunOptions{})
	h.edit("policies/by-expert.yaml", "range: 300 days", "range: 200 days")
	h.approve("expert")
	ctx := context.Background()
	_, err := h.agent.Run(ctx, "expert", agent.RunOptions{})
	if classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "postern keys rotate expert") || !strings.Contains(err.Error(), "up to 300 days") {
		t.Errorf("another range within one epoch: %v", err)
	}
	if _, err := h.agent.Run(ctx, "expert", agent.RunOptions{DryRun: true}); err != nil {
		t.Errorf("a plan: %v", err)
	}
	if _, err := h.agent.Rotate(ctx, []string{"expert"}, "x", "y", true); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "policy by-expert gives tokens (person)") {
		t.Errorf("tokens are mapped: %v", err)
	}
	h.edit("policies/by-expert.yaml", "do: token", "do: code")
	if _, err := h.agent.Rotate(ctx, []string{"expert"}, "x", "y", true); classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), "moves dates (day)") {
		t.Errorf("two shifts of one person are told: %v", err)
	}
	r := h.rotate(false, "expert")
	if text := strings.Join(r.Changes, "\n"); !strings.Contains(text, "another number of days") || !strings.Contains(text, "people get new codes") {
		t.Errorf("the recipient is to be told: %s", text)
	}
	h.run("expert", agent.RunOptions{})
	if _, err := h.agent.Rotate(ctx, []string{treatment}, "x", "y", true); classOf(err) != agent.PolicyRefused {
		t.Errorf("a map without codes: %v", err)
	}
	if _, err := h.agent.Rotate(ctx, []string{treatment}, "x", "y", false); classOf(err) != agent.Usage {
		t.Errorf("an exchange that never ran is rotated: %v", err)
	}
}

// bytesOf are what the state holds of an epoch.
func (h *house) bytesOf(epoch int) (found [][]byte) {
	h.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(h.dir, "state", "postern.db")+"?_pragma=busy_timeout(20000)")
	h.must(err)
	defer db.Close()
	rows, err := db.Query(`SELECT wrapped FROM epoch WHERE id = ?1 UNION ALL SELECT person FROM code WHERE epoch = ?1 UNION ALL SELECT sealed FROM code WHERE epoch = ?1
		UNION ALL SELECT record FROM row_key WHERE epoch = ?1 UNION ALL SELECT CAST(key AS BLOB) FROM row_key WHERE epoch = ?1`, epoch)
	h.must(err)
	defer rows.Close()
	for rows.Next() {
		var b []byte
		h.must(rows.Scan(&b))
		found = append(found, b)
	}
	h.must(rows.Err())
	return found
}

// inFiles counts which of them lie in the files of the state, outside drops.
func (h *house) inFiles(needles [][]byte) (n int) {
	h.t.Helper()
	var all []byte
	h.must(filepath.WalkDir(filepath.Join(h.dir, "state"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all = append(all, text...)
		return err
	}))
	for _, needle := range needles {
		if bytes.Contains(all, needle) {
			n++
		}
	}
	return n
}

// What is destroyed is gone from every file of the state, and nothing else is.
func TestDestroyedEpochIsGone(t *testing.T) {
	t.Parallel()
	h := codedHouse(t, 150)
	ctx, options := context.Background(), agent.RunOptions{AsOf: day(wholeYear)}
	h.run(scores, options)
	doom := func(current bool) (*agent.Epoch, error) { return h.agent.Doomed(ctx, scores, "", current) }
	if _, err := doom(false); classOf(err) != agent.Usage || !strings.Contains(err.Error(), "no epoch that is out of use") {
		t.Errorf("only the current epoch is there: %v", err)
	}
	h.rotate(true, scores, again)
	if _, err := doom(false); classOf(err) != agent.Undelivered {
		t.Errorf("a drop of it waits: %v", err)
	}
	deliverAll(h, scores)
	h.run(scores, options)
	if g := h.givenOut(scores, 2); !g.tells || len(g.overlap) == 0 {
		t.Fatal("no overlap")
	}
	deliverAll(h, scores)
	if _, err := h.agent.Doomed(ctx, "", "acme-health-plan/HOPERAT/2", false); classOf(err) != agent.Usage || !strings.Contains(err.Error(), "--current") {
		t.Errorf("the current epoch without a word: %v", err)
	}
	if _, err := h.agent.Doomed(ctx, "", "nobody/X/1", false); classOf(err) != agent.Usage {
		t.Errorf("an epoch that is not there: %v", err)
	}

	old, kept := h.bytesOf(1), h.bytesOf(2)
	if len(old) < 300 || h.inFiles(old) != len(old) {
		t.Fatalf("%d of %d values are found before", h.inFiles(old), len(old))
	}
	e, err := doom(false)
	h.must(err)
	h.must(h.agent.Destroy(ctx, e, "the privacy officer", "the study is over", false))
	if n := h.inFiles(old); n != 0 || len(h.bytesOf(1)) != 1 { // the row of the epoch, without its secret
		t.Errorf("%d of %d values of the epoch are still there", n, len(old))
	}
	if h.inFiles(kept) != len(kept) {
		t.Error("the current epoch lost something")
	}
	e, err = h.agent.Doomed(ctx, "", e.Name, false)
	h.must(err)
	h.must(h.agent.Destroy(ctx, e, "x", "again, as after a crash", false))
	if n := h.query(`SELECT count(*) FROM ledger_entry WHERE CAST(event AS TEXT) LIKE '%"did":"destroyed"%'`); n != "1" {
		t.Errorf("the ledger has %s entries of it", n)
	}
	second := h.givenOut(scores, 2)
	h.run(scores, options)
	if g := h.givenOut(scores, 3); g.tells || !maps.Equal(g.codes, second.codes) {
		t.Error("the codes of the current epoch changed, or codes of the destroyed one are told")
	}
	deliverAll(h, scores)

	e, err = doom(true)
	h.must(err)
	h.must(h.agent.Destroy(ctx, e, "x", "y", true))
	h.run(scores, options)
	if g := h.givenOut(scores, 4); len(g.codes) != len(second.codes) || g.joined(second) == nil || slices.Contains(slices.Collect(maps.Values(second.codes)), slices.Collect(maps.Values(g.codes))[0]) {
		t.Error("after the current epoch was destroyed, its codes live on")
	}
	epochs, err := h.agent.Epochs(ctx)
	h.must(err)
	var states []string
	for _, e := range epochs {
		states = append(states, strings.Join([]string{e.Name, e.MadeBy, map[bool]string{true: "current"}[e.Current], map[bool]string{true: "destroyed"}[e.Destroyed != ""]}, " "))
	}
	if !slices.Equal(states, []string{"acme-health-plan/HOPERAT/1   destroyed", "acme-health-plan/HOPERAT/2 the privacy officer  destroyed", "acme-health-plan/HOPERAT/3  current "}) {
		t.Errorf("epochs: %q", states)
	}
	_, err = h.agent.VerifyLedger(ctx)
	h.must(err)
}
