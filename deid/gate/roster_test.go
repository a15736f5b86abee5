package gate

import (
	"errors"
	"fmt"
	"testing"
)

// A roster that was told the number of people stays in bounds; one that was
// not grows, and knows as much.
func TestRosterMemory(t *testing.T) {
	for _, expected := range []int{20000, 0} {
		checkRoster(t, expected)
	}
}

func checkRoster(t *testing.T, expected int) {
	const count = 20000
	r := NewRoster(expected)
	for i := range uint32(count) {
		for kind, v := range map[Kind]string{Other: "x%d", BirthDate: "19%06d", StreetAddress: "%d Nonesuch Lane", Phone: "617555%d",
			Email: "p%d@mail.example", MemberNumber: "ACM%d", RecordNumber: "CV-%d", SSN: "900%06d"} {
			_ = r.Add(i, kind, fmt.Appendf(nil, v, i))
		}
		_ = r.Add(i, Name, fmt.Appendf(nil, "family%d", i%500))
		_ = r.Add(i, Name, fmt.Appendf(nil, "given%d", i%300))
		_ = r.Add(i, Name, fmt.Appendf(nil, "given%d family%d", i%300, i%500))
	}
	if each := 8 * (len(r.values.slots) + len(r.owned.slots) + len(r.starts)) / count; each > 256 && expected > 0 {
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

func identifiedSpec() Spec {
	return Spec{Format: NDJSON, ExactDates: true, Positions: []Position{
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
}

func BenchmarkRow(b *testing.B) {
	r := NewRoster(100000)
	for i := range uint32(100000) {
		_ = r.Add(i, Name, fmt.Appendf(nil, "family%d", i))
		_ = r.Add(i, RecordNumber, fmt.Appendf(nil, "CV-%d", i))
		_ = r.Add(i, SSN, fmt.Appendf(nil, "900%06d", i))
	}
	r.Freeze()
	// Each person has eight rows in a row, as extracts have them.
	rows := func(make func(i, person int) []byte) (lines [][]byte) {
		for i := range 4096 {
			lines = append(lines, make(i, 17*(i/8)))
		}
		return lines
	}
	run := func(name string, spec Spec, rows [][]byte) {
		b.Run(name, func(b *testing.B) {
			g := newGate(b, spec, r)
			size, n := 0, 0
			subjects := []uint32{0}
			for b.Loop() {
				i := n % len(rows)
				subjects[0] = uint32(17 * (i / 8))
				if hit := g.Row(rows[i], subjects); hit != nil {
					b.Fatal(hit)
				}
				n++
				size += len(rows[i])
			}
			b.ReportMetric(float64(size)/b.Elapsed().Seconds()/1e6, "MB/s")
			b.ReportMetric(0, "ns/op")
		})
	}
	run("identified NDJSON", identifiedSpec(), rows(func(i, person int) []byte {
		return fmt.Appendf(nil, `{"resourceType":"Observation","id":"fec700dd-9489-%04x-f77b-f43003428d85","status":"final","category":[{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/observation-category","code":"survey"}]}],"code":{"coding":[{"system":"http://loinc.org","code":"44261-6"}]},"subject":{"reference":"Patient/CV-%d"},"encounter":{"reference":"Encounter/fd314f62-e1d8-%04x-0170-5d90411eb7b2"},"effectiveDateTime":"2013-03-21T00:05:30+10:00","valueQuantity":{"value":%d,"system":"http://unitsofmeasure.org","code":"{score}"}}`, i, person, i, i%27)
	}))
	run("Safe Harbor NDJSON", observationSpec(), rows(func(i, person int) []byte {
		return fmt.Appendf(nil, `{"resourceType":"Observation","id":"%012d","status":"final","category":[{"text":"survey"}],"code":{"coding":[{"system":"http://loinc.org","code":"%s"},{"system":"http://snomed.info/sct","code":"%d"}]},"subject":{"reference":"Patient/%012d"},"effectiveDateTime":"%d","valueQuantity":{"value":%d.5},"component":[{"code":{"coding":[{"code":"44250-9"}]},"valueInteger":%d},{"code":{"coding":[{"code":"44255-8"}]},"valueInteger":%d}]}`,
			i, [...]string{"44261-6", "70274-6", "75626-2"}[i%3], 313182004+i%40, person, 2020+i%5, i%20, i%4, i%3)
	}))
	run("scores CSV", Spec{Format: CSV, ExactDates: true, Positions: []Position{{"record", OwnIdentifier(RecordNumber)}, {"instrument", CodeToken()},
		{"service_date", Date()}, {"total_score", Number(0, 27, true)}, {"provider_npi", ProviderNumber()}, {"sex", Closed("male", "female")},
		{"race", Term()}, {"state", State()}}}, rows(func(i, person int) []byte {
		return fmt.Appendf(nil, "CV-%d,%s,2026-03-%02d,%d,1999000015,female,Black or African American,MA", person, [...]string{"44261-6", "70274-6"}[i%2], 1+i%28, i%27)
	}))
	run("prose NDJSON", observationSpec(), rows(func(i, _ int) []byte {
		return fmt.Appendf(nil, `{"resourceType":"Observation","code":{"text":"patient reports sleeping better than at visit %d, still little interest in things, agrees to continue with the present plan"}}`, i%99)
	}))
}
