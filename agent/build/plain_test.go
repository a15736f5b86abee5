package build

import (
	"bufio"
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
)

func TestNoneSaysWhatAskingOneByOneSays(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := &repeats{total: 300}
		for _, o := range rapid.SliceOfN(rapid.Int64Range(0, 299), 0, 3).Draw(t, "repeated") {
			r.set(o, rapid.SampledFrom([]extract.Reason{extract.Repeated, extract.Conflict}).Draw(t, "reason"))
		}
		from := rapid.Int64Range(0, 299).Draw(t, "from")
		n := rapid.Int64Range(0, 300-from).Draw(t, "n")
		want := true
		for o := from; o < from+n; o++ {
			want = want && r.of(o) == extract.NoReason
		}
		if r.none(from, n) != want {
			t.Fatalf("none(%d, %d) is %v", from, n, !want)
		}
		if r.of(r.total) != extract.NoReason || r.of(1<<40) != extract.NoReason {
			t.Fatal("something is said of a record that the index pass did not meet")
		}
	})
}

// TestManyDispositionsAreWrittenAsEachOfThem: the clinic's book is the same
// whether a chunk's records were noted one by one or together.
func TestManyDispositionsAreWrittenAsEachOfThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		files := []extract.File{{Name: "a.ndjson"}, {Name: "b.csv"}}
		book := func() (*books, *bytes.Buffer) {
			var out bytes.Buffer
			return &books{job: &Job{Files: files}, dispositions: sink{bufio.NewWriter(&out), nowhere{}}}, &out
		}
		one, first := book()
		all, second := book()
		at := extract.Place{Line: 1}
		for range rapid.IntRange(1, 8).Draw(t, "runs") {
			n := rapid.Int64Range(1, 5).Draw(t, "n")
			reasons := extract.ReasonSet(0).With(rapid.SampledFrom([]extract.Reason{extract.NotNamed, extract.Period}).Draw(t, "reason"))
			if err := all.dispositionOf(n, at, "Observation", reasons, ""); err != nil {
				t.Fatal(err)
			}
			for range n {
				if err := one.disposition(at, "Observation", reasons, ""); err != nil {
					t.Fatal(err)
				}
				at.Line++
			}
			if rapid.Bool().Draw(t, "gap") {
				at.Line++
			}
			if rapid.Bool().Draw(t, "next file") {
				at = extract.Place{File: 1 - at.File, Line: 1}
			}
		}
		for _, b := range []*books{one, all} {
			if err := b.flushRange(); err != nil {
				t.Fatal(err)
			}
			if err := b.dispositions.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if first.String() != second.String() {
			t.Fatalf("one by one:\n%stogether:\n%s", first, second)
		}
	})
}

func TestAChunkIsPlainOnlyWithoutAnythingElse(t *testing.T) {
	record := func(line int64) *extract.Record {
		return &extract.Record{Dataset: "Coverage", Place: extract.Place{Line: line}}
	}
	var p plainChunk
	for line := int64(7); line < 10; line++ {
		if !p.take(record(line)) {
			t.Fatalf("line %d is plain", line)
		}
	}
	other, broken, entry := record(10), record(10), record(10)
	other.Dataset, broken.Reject, entry.Place.Entry = "Condition", extract.Malformed, 1
	for what, r := range map[string]*extract.Record{"a gap": record(11), "another dataset": other, "a broken record": broken, "an entry of a Bundle": entry} {
		if q := p; q.take(r) {
			t.Errorf("a chunk with %s is taken for plain", what)
		}
	}
	if p.n != 3 || p.place.Line != 7 {
		t.Fatalf("%d records from line %d", p.n, p.place.Line)
	}
}
