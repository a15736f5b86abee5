package gate

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/synthetic"
)

// The scores of a whole synthetic clinic, whose people are called White, May
// and Hope, pass for the person they are about, and for nobody else.
func TestClinicOfCommonNames(t *testing.T) {
	dir := t.TempDir()
	if _, err := synthetic.Write(dir, synthetic.Options{Patients: 200}); err != nil {
		t.Fatal(err)
	}
	r := NewRoster(0)
	number := map[string]uint32{}
	eachLine(t, filepath.Join(dir, "extract/fhir/Patient.ndjson"), func(line []byte) {
		member := func(name string) string {
			_, rest, _ := bytes.Cut(line, []byte(`"`+name+`":"`))
			value, _, _ := bytes.Cut(bytes.TrimPrefix(rest, []byte(`["`)), []byte{'"'})
			return string(value)
		}
		id := member("id")
		number[id] = uint32(len(number))
		for kind, value := range map[Kind]string{RecordNumber: id, Name: member("family"), BirthDate: member("birthDate"), City: member("city")} {
			_ = r.Add(number[id], kind, []byte(value))
		}
	})
	r.Freeze()
	g := newGate(t, Spec{Format: CSV, ExactDates: true, Positions: []Position{
		{"record_id", CodeToken()}, {"person_id", OwnIdentifier(RecordNumber)}, {"encounter_id", CodeToken()}, {"service_date", Date()},
		{"instrument", CodeToken()}, {"total_score", Number(0, 27, true)}, {"status", CodeToken()}, {"provider_npi", ProviderNumber()},
		{"birth_date", OwnIdentifier(BirthDate)}, {"sex", CodeToken()}, {"race", Term()}, {"ethnicity", Term()}, {"language", CodeToken()},
		{"state", State()}, {"zip", Any()},
	}}, r)
	raw, err := os.ReadFile(filepath.Join(dir, "extract/scores/scores.csv"))
	if err != nil {
		t.Fatal(err)
	}
	header, rows, _ := strings.Cut(string(raw), "\n")
	if hit := g.Header([]byte(header)); hit != nil {
		t.Fatal(hit)
	}
	for row := range strings.Lines(rows) {
		cells := strings.Split(row, ",")
		row := strings.Join(cells[:len(cells)-1], ",") + ",\n" // a ZIP code in free text would be a hit
		subject := number[cells[1]]
		if hit := g.Row([]byte(row), []uint32{subject}); hit != nil {
			t.Fatalf("%s: %v", cells[1], hit)
		}
		if hit := g.Row([]byte(row), []uint32{subject + 1}); hit == nil || hit.Position != "person_id" {
			t.Fatalf("%s passed for another: %v", cells[1], hit)
		}
	}
}
