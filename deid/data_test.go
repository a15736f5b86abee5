package deid

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// peer skips a test that needs something outside the repository, or fails it
// where everything is required.
func peer(t testing.TB, name string) {
	t.Helper()
	if os.Getenv("POSTERN_REQUIRE") == "all" {
		t.Fatalf("missing peer: %s", name)
	}
	t.Skipf("missing peer: %s", name)
}

// sharedData reads the NDJSON files of the folders of the shared data.
func sharedData(t testing.TB, folders ...string) (all []byte) {
	t.Helper()
	for _, folder := range folders {
		files, _ := filepath.Glob("../../shared/data/" + folder + "/*.ndjson*")
		if len(files) == 0 {
			peer(t, "shared data")
		}
		for _, name := range files {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasSuffix(name, ".gz") {
				z, err := gzip.NewReader(bytes.NewReader(data))
				if err != nil {
					t.Fatal(err)
				}
				if data, err = io.ReadAll(z); err != nil {
					t.Fatal(err)
				}
			}
			all = append(append(all, data...), '\n')
		}
	}
	return all
}

// clinicPolicy releases of each dataset of the shared data what a Safe Harbor
// release of outcomes would: codes, years, values, the person's code.
var clinicPolicy = map[string][]string{
	"Patient": {"code id", "keep gender", "year birthDate", "zip3 address postalCode", "keep address state",
		"keep extension:http://hl7.org/fhir/us/core/StructureDefinition/us-core-race extension:ombCategory valueCoding code"},
	"Observation": {"keep status", "keep code coding system", "keep code coding code", "code subject reference", "year effectiveDateTime",
		"keep valueQuantity value", "keep valueQuantity code", "keep component code coding code", "keep component valueQuantity value"},
	"Condition":         {"keep clinicalStatus coding code", "keep code coding system", "keep code coding code", "code subject reference", "year onsetDateTime"},
	"Encounter":         {"keep status", "keep class code", "keep type coding code", "code subject reference", "year period start"},
	"Procedure":         {"keep status", "keep code coding system", "keep code coding code", "code subject reference", "year performedPeriod start"},
	"MedicationRequest": {"keep status", "keep intent", "keep medicationCodeableConcept coding code", "code subject reference", "year authoredOn"},
	"CarePlan":          {"keep status", "keep category coding code", "code subject reference", "year period start"},
}

func clinicEngines(t testing.TB) map[string]*Engine {
	engines := map[string]*Engine{}
	for dataset, lines := range clinicPolicy {
		engines[dataset] = compile(t, fhirPolicy(policies.SafeHarbor, dataset, lines...), dataset).Engine()
	}
	return engines
}

// Over all the data that others wrote: valid JSON, named paths only.
func TestSharedDataUnderSafeHarbor(t *testing.T) {
	engines, scanner, rec, released := clinicEngines(t), extract.NewScanner(), extract.Record{}, 0
	for line := range bytes.Lines(sharedData(t, "clinic", "surveys", "population", "bulk-export")) {
		if line = bytes.TrimSpace(line); len(line) == 0 {
			continue
		}
		scanner.Resource(line, &rec)
		engine := engines[rec.Dataset]
		if engine == nil || rec.Reject != extract.NoReason {
			continue
		}
		named := map[string]bool{"resourceType": true, "extension.url": true, "extension.extension.url": true, "extension.extension.valueCoding.code": true}
		for _, l := range clinicPolicy[rec.Dataset] {
			named[strings.Join(strings.Fields(l)[1:], ".")] = true
		}
		var out Output
		if err := engine.Apply(&rec, nil, &out); err != nil {
			t.Fatalf("%s: %v", rec.Dataset, err)
		}
		checkLine(t, out.Bytes, named)
		released++
	}
	if released < 10000 {
		t.Errorf("only %d records were released", released)
	}
	for _, c := range engines["Patient"].Counts() {
		if c.Path == "Patient.id" && (c.In < 1300 || c.Out != c.In) {
			t.Errorf("codes of patients: %+v", c)
		}
	}
}

func TestApplyDoesNotAllocate(t *testing.T) {
	plan := compile(t, fhirPolicy(policies.Identified, "Observation", clinicPolicy["Observation"][0], "keep subject reference", "keep performer reference", "year effectiveDateTime"), "Observation")
	policy := rowPolicy(policies.SafeHarbor, policies.Field{Name: "age", Do: policies.AgeBand, Width: 5}, policies.Field{Name: "zip", Do: policies.ZIP3},
		policies.Field{Name: "birth_date", Do: policies.Year}, policies.Field{Name: "age_years", Do: policies.AgeBand, Width: 5},
		policies.Field{Name: "row", From: "record", Do: policies.Ordinal}, policies.Field{Name: "total", Do: policies.Round, Days: 5},
		policies.Field{Name: "sex", Do: policies.Map, To: "groups"}, policies.Field{Name: "source", Do: policies.Constant, To: "clinic"})
	keyed := rowPolicy(policies.ExpertDetermination, policies.Field{Name: "subject", Do: policies.Token}, policies.Field{Name: "record", Do: policies.Token}, policies.Field{Name: "service_date", Do: policies.ShiftDate, Days: 365})
	keyedRows, err := Compile(keyed, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	others := [2]Subject{UnknownSubject(), UnknownSubject()}
	others[0].ID, others[1].ID = []byte("p1"), []byte("p2")
	withMap(policy)
	policy.Release[0].Only = []policies.Condition{{Path: "instrument", Codes: policies.Codes("x")}, {Path: "service_date", Period: "last-closed-year"}}
	rows, err := Compile(policy, "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		t.Fatal(err)
	}
	rec := recordOf([]byte(`{"resourceType":"Observation","status":"final","subject":{"reference":"Patient\/p1"},"performer":[{"reference":"Practitioner/x"}],"effectiveDateTime":"2025-02-03","note":[{"text":"x"}]}`))
	row := rowOf("r1", "p1", "2025-03-24", "1980-02-03", "x", "1", "F", "02139", "n", "46", "May")
	subject := Subject{Birth: span("1980-02-03"), Death: extract.NoSpan, Index: day("2025-01-01")}
	engine, rowEngine, keyedEngine, out := plan.Engine(), rows.Engine(), keyedRows.Engine(), Output{}
	if n := testing.AllocsPerRun(100, func() {
		out.Reset()
		_ = engine.Apply(rec, &subject, &out)
		_ = rowEngine.Apply(row, &subject, &out)
		_ = keyedEngine.Apply(row, &others[0], &out)
		_ = keyedEngine.Apply(row, &others[1], &out)
		if rows.InScope(row) != extract.NoReason || plan.InScope(rec) != extract.NoReason {
			t.Fatal("out of scope")
		}
	}); n != 0 {
		t.Errorf("%v allocations a record", n)
	}
}

func benchmarkFHIR(b *testing.B, scan bool) {
	var lines [][]byte
	var total int64
	for line := range bytes.Lines(sharedData(b, "clinic", "surveys", "population")) {
		if line = bytes.TrimSpace(line); len(line) > 0 {
			lines = append(lines, line)
			total += int64(len(line)) + 1
		}
	}
	engines, scanner, out := clinicEngines(b), extract.NewScanner(), Output{}
	records := make([]extract.Record, len(lines))
	if !scan {
		for i, line := range lines {
			extract.NewScanner().Resource(line, &records[i])
		}
	}
	var rec extract.Record
	var written int64
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		written = 0
		out.Reset()
		for i, line := range lines {
			r := &records[i]
			if scan {
				r = &rec
				scanner.Resource(line, r)
			}
			if engine := engines[r.Dataset]; engine != nil {
				_ = engine.Apply(r, nil, &out)
			}
			if len(out.Bytes) > 1<<20 {
				written += int64(len(out.Bytes))
				out.Reset()
			}
		}
	}
	b.ReportMetric(100*float64(written+int64(len(out.Bytes)))/float64(total), "%out")
}

func BenchmarkScanAndApply(b *testing.B) { benchmarkFHIR(b, true) }
func BenchmarkApply(b *testing.B)        { benchmarkFHIR(b, false) }

func BenchmarkRows(b *testing.B) {
	plan, err := Compile(rowPolicy(policies.SafeHarbor, policies.Field{Name: "person", Do: policies.CodePerson},
		policies.Field{Name: "week", From: "service_date", Do: policies.RelativeTime, Unit: "weeks"},
		policies.Field{Name: "instrument", Do: policies.Keep}, policies.Field{Name: "total", Do: policies.Keep},
		policies.Field{Name: "age", At: "index", Do: policies.AgeBand, Width: 5}, policies.Field{Name: "sex", Do: policies.Keep}), "scores", Options{AsOf: asOf, Schema: scoresSchema()})
	if err != nil {
		b.Fatal(err)
	}
	row := rowOf("score-0000001", "person-000001", "2025-03-24", "1980-02-03", "44261-6", "17", "female", "02139", "a short note", "46", "Maybell")
	size := 0
	for _, cell := range row.Row {
		size += len(cell) + 1
	}
	subject := Subject{Birth: span("1980-02-03"), Death: extract.NoSpan, Index: day("2025-01-01")}
	engine, out := plan.Engine(), Output{}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		if out.Reset(); engine.Apply(row, &subject, &out) != nil {
			b.Fatal("rejected")
		}
	}
}
