package policytest

import (
	"context"
	"encoding/binary"
	"testing"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// What a drop rests on is judged again before delivery, also where it is not in
// the drop itself.
func TestEvidenceStandsInTheDecisionIndex(t *testing.T) {
	ctx, scratch := context.Background(), t.TempDir()
	c, err := Load("testdata/derived.yaml")
	if err != nil {
		t.Fatal(err)
	}
	w, drop := &world{c: c, schemas: map[string]*extract.Schema{}}, &captured{books: map[string]*capturedBook{}}
	if err := w.load(scratch); err != nil {
		t.Fatal(err)
	}
	if err := w.inputs(ctx, scratch); err != nil {
		t.Fatal(err)
	}
	job, err := w.job(scratch, drop)
	if err != nil {
		t.Fatal(err)
	}
	run, err := build.New(ctx, job)
	if err != nil {
		t.Fatal(err)
	}
	defer run.Close()
	if err := run.Execute(ctx); err != nil {
		t.Fatal(err)
	}
	judged := map[string]bool{}
	for b := drop.books["decision-index"].Bytes(); len(b) > 0; {
		size, n := binary.Uvarint(b[1:])
		what, entry := b[0], b[1+n:][:size]
		b = b[1+n+int(size):]
		if what != build.DecisionRecord && what != build.DecisionPart2 {
			continue
		}
		var f extract.Facts
		if _, err := consent.ReadFacts(entry, &f, consent.NewPeople()); err != nil {
			t.Fatal(err)
		}
		judged[string(f.ID)] = true
	}
	for _, id := range []string{"e2", "second", "panel", "asked"} {
		if !judged[id] {
			t.Errorf("%s will not be judged again", id)
		}
	}
	for _, id := range []string{"first", "at-first"} {
		if judged[id] {
			t.Errorf("%s, which may not leave, is judged again", id)
		}
	}
}
