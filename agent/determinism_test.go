package agent_test

import (
	"bytes"
	"fmt"
	"maps"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
)

// TestSameInputSamePlaintext: input, keys, state and clocks fix every byte
// that the recipient reads, whatever the number of workers and of cores. It is
// not parallel: GOMAXPROCS is the process's.
func TestSameInputSamePlaintext(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(cores)
	base := build(t, synthetic.Options{Patients: 300, Mess: true})
	exchanges := map[string]agent.RunOptions{
		scores:    {AsOf: day(wholeYear)},
		treatment: {},
		outcomes:  {},
	}
	// A first drop of each, so that there are codes and row keys to repeat.
	for _, exchange := range []string{scores, treatment, outcomes} {
		base.run(exchange, exchanges[exchange])
	}
	// People who are new need new codes and keys.
	_, npi := base.plainMember()
	var rows []string
	for i := range 40 {
		rows = append(rows, score(fmt.Sprintf("N-%d", i), fmt.Sprintf("NEW-%d", i%20), "", "2024-09-01", i%28, npi))
	}
	base.scatter(scoresCSV, 1, rows)

	first := map[string]*drop{}
	for _, n := range []struct{ workers, cores int }{{1, 1}, {2, 1}, {1, 2}, {2, 2}, {5, 2}} {
		h := base.copied()
		runtime.GOMAXPROCS(n.cores)
		for _, exchange := range []string{scores, treatment, outcomes} {
			opt := exchanges[exchange]
			opt.Workers = n.workers
			outcome := h.run(exchange, opt)
			if outcome.Released < 300 {
				t.Fatalf("%s released %d rows only", exchange, outcome.Released)
			}
			d := h.drop(exchange, 2)
			if exchange != scores { // the ledger holds the ciphertext hashes of the copy's drops before this one
				delete(d.book, "ledger")
			}
			if first[exchange] == nil {
				first[exchange] = d
				continue
			}
			sameForRecipient(t, first[exchange], d)
		}
		runtime.GOMAXPROCS(cores)
	}
}

// TestAnotherDropDrawsAnew is the other side: a new row's key, a new person's
// code and the shuffle come from the drop's own stream, and what was given out
// before stays.
func TestAnotherDropDrawsAnew(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 200})
	h.run(outcomes, agent.RunOptions{})
	h.run(outcomes, agent.RunOptions{})
	one, two := h.drop(outcomes, 1), h.drop(outcomes, 2)
	if bytes.Equal(joined(one), joined(two)) {
		t.Error("two drops are shuffled alike")
	}
	count := func(d *drop) map[string]int {
		lines := map[string]int{}
		for _, line := range d.rows() {
			lines[line]++
		}
		return lines
	}
	if !maps.Equal(count(one), count(two)) {
		t.Error("a person's code changed from one drop to the next")
	}
	if reflect.DeepEqual(one.manifest, two.manifest) {
		t.Error("two drops have one manifest")
	}
}

func joined(d *drop) (all []byte) {
	for _, name := range sortedKeys(d.parts) {
		all = append(all, d.parts[name]...)
	}
	return all
}

// TestExchangesOfOneEpochShareNoCode: two exchanges to one recipient for one
// purpose share the crosswalk, and both have a drop number 1.
func TestExchangesOfOneEpochShareNoCode(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	line := "  outcomes-registry: {id: r4,"
	text := h.read("postern.yaml")
	at := strings.Index(text, line)
	second := strings.TrimRight(strings.Replace(text[at:], "outcomes-registry: {id: r4,", "outcomes-again: {id: r5,", 1), "\n")
	h.write("postern.yaml", strings.TrimRight(text, "\n")+"\n"+second+"\n")
	h.open(hclog.NewNullLogger())
	first := h.run(outcomes, agent.RunOptions{})
	_, npi := h.plainMember()
	var rows []string
	for i := range 20 {
		rows = append(rows, score(fmt.Sprintf("N-%d", i), fmt.Sprintf("NEW-%d", i), "", "2024-09-01", i, npi))
	}
	h.add(scoresCSV, rows...)
	outcome := h.run("outcomes-again", agent.RunOptions{})
	codes := map[string]bool{}
	for _, line := range h.drop("outcomes-again", 1).rows() {
		code, _, _ := strings.Cut(line, ",")
		codes[code] = true
	}
	if outcome.People != first.People+20 || int64(len(codes)) != outcome.People {
		t.Errorf("%d people have %d codes", outcome.People, len(codes))
	}
}
