package gate

import (
	"errors"
	"fmt"
	"testing"
)

func TestRosterMemory(t *testing.T) {
	const count = 20000
	r := NewRoster(count)
	for i := range uint32(count) {
		for kind, v := range map[Kind]string{Other: "x%d", BirthDate: "19%06d", StreetAddress: "%d Nonesuch Lane", Phone: "617555%d",
			Email: "p%d@mail.example", MemberNumber: "ACM%d", RecordNumber: "CV-%d", SSN: "900%06d"} {
			_ = r.Add(i, kind, fmt.Appendf(nil, v, i))
		}
		_ = r.Add(i, Name, fmt.Appendf(nil, "family%d", i%500))
		_ = r.Add(i, Name, fmt.Appendf(nil, "given%d", i%300))
		_ = r.Add(i, Name, fmt.Appendf(nil, "given%d family%d", i%300, i%500))
	}
	if each := r.Bytes() / count; each > 256 {
		t.Errorf("%d bytes a person", each)
	}
	r.Freeze()
	if err := r.Add(1, Name, []byte("late")); !errors.Is(err, ErrFrozen) {
		t.Errorf("late: %v", err)
	}
	for i := range uint32(count) {
		h := r.hash(fmt.Appendf(nil, "cv%d", i))
		if kind, found := r.find(h); !found || kind != RecordNumber {
			t.Fatalf("value %d: %v, %v", i, kind, found)
		}
		if !r.owns(h, []uint32{i}, RecordNumber) || r.owns(h, []uint32{i + 1}, RecordNumber) || r.owns(h, []uint32{i}, SSN) {
			t.Fatalf("owner of %d", i)
		}
	}
	if _, found := r.find(r.hash([]byte("nobody"))); found {
		t.Error("nobody's value found")
	}
}

func TestRosterRefusesUnknownKinds(t *testing.T) {
	r := NewRoster(0)
	if r.Add(1, 0, []byte("value")) == nil || r.Add(1, Kind(kinds), []byte("value")) == nil {
		t.Error("accepted")
	}
}

func BenchmarkRow(b *testing.B) {
	r := NewRoster(100000)
	for i := range uint32(100000) {
		_ = r.Add(i, Name, fmt.Appendf(nil, "family%d", i))
		_ = r.Add(i, RecordNumber, fmt.Appendf(nil, "CV-%d", i))
		_ = r.Add(i, SSN, fmt.Appendf(nil, "900%06d", i))
	}
	r.Freeze()
	spec := Spec{Format: NDJSON, ExactDates: true, Positions: []Position{
		{"Observation.id", CodeToken()},
		{"Observation.status", Closed("final", "amended")},
		{"Observation.category.coding.system", URI("http://terminology.hl7.org/CodeSystem/observation-category")},
		{"Observation.category.coding.code", CodeToken()},
		{"Observation.code.coding.system", URI("http://loinc.org", "http://snomed.info/sct")},
		{"Observation.code.coding.code", CodeToken()},
		{"Observation.subject.reference", OwnReference("Patient", RecordNumber)},
		{"Observation.encounter.reference", Reference("Encounter")},
		{"Observation.effectiveDateTime", DateTime()},
		{"Observation.valueQuantity.value", Number(0, 1000, false)},
		{"Observation.valueQuantity.system", URI("http://unitsofmeasure.org")},
		{"Observation.valueQuantity.code", CodeToken()},
	}}
	identified := make([][]byte, 512)
	for i := range identified {
		identified[i] = fmt.Appendf(nil, `{"resourceType":"Observation","id":"fec700dd-9489-%04x-f77b-f43003428d85","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"survey"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"44261-6"}]},"subject":{"reference":"Patient/CV-7"},"encounter":{"reference":"Encounter/fd314f62-e1d8-%04x-0170-5d90411eb7b2"},"effectiveDateTime":"2013-03-21T00:05:30+10:00","valueQuantity":{"value":%d,"system":"http://unitsofmeasure.org","code":"{score}"}}`, i, i, i%27)
	}
	subjects := []uint32{7}
	run := func(name string, spec Spec, rows [][]byte) {
		b.Run(name, func(b *testing.B) {
			g := newGate(b, spec, r)
			size, n := 0, 0
			for b.Loop() {
				row := rows[n%len(rows)]
				if hit := g.Row(row, subjects); hit != nil {
					b.Fatal(hit)
				}
				n++
				size += len(row)
			}
			b.ReportMetric(float64(size)/b.Elapsed().Seconds()/1e6, "MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
	run("identified NDJSON", spec, identified)
	run("Safe Harbor NDJSON", observationSpec(), [][]byte{[]byte(cleanObservation)})
	scores := make([][]byte, 512)
	for i := range scores {
		scores[i] = fmt.Appendf(nil, "cv%d,44261-6,2026-03-%02d,%d,1999999984,female,White,MA", 7, 1+i%28, i%27)
	}
	run("scores CSV", Spec{Format: CSV, ExactDates: true, Positions: []Position{{"record", OwnIdentifier(RecordNumber)}, {"instrument", CodeToken()},
		{"service_date", Date()}, {"total_score", Number(0, 27, true)}, {"provider_npi", ProviderNumber()}, {"sex", Closed("male", "female")},
		{"race", Term()}, {"state", State()}}}, scores)
	prose := make([][]byte, 4096)
	for i := range prose {
		prose[i] = fmt.Appendf(nil, `{"resourceType":"Observation","code":{"text":"patient reports sleeping better than at visit %d, still little interest in things, agrees to continue with the present plan"}}`, i%99)
	}
	run("prose NDJSON", observationSpec(), prose)
}
