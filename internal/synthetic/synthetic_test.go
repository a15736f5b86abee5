package synthetic

import (
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func sums(t testing.TB, opt Options) (string, Summary, string) {
	t.Helper()
	dir := t.TempDir()
	summary, err := Write(dir, opt)
	if err != nil {
		t.Fatal(err)
	}
	all := sha256.New()
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		name, _ := filepath.Rel(dir, path)
		all.Write([]byte(filepath.ToSlash(name)))
		all.Write(raw)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return hex.EncodeToString(all.Sum(nil)), summary, dir
}

// Whoever changes the clinic changes every figure that was published from it.
func TestBytesAreStable(t *testing.T) {
	const want = "20c26b95a0621f63b24b7d787ccd191afff024b15289884c1dafb67eb31ca7f9"
	if got, _, _ := sums(t, Options{Mess: true}); got != want {
		t.Errorf("the demo's clinic has the SHA-256 %s", got)
	}
	one, _, _ := sums(t, Options{Patients: 5})
	two, _, _ := sums(t, Options{Patients: 5, Seed: 1})
	if one == two {
		t.Error("the seed changes nothing")
	}
}

func TestEveryRecordIsWellFormed(t *testing.T) {
	_, summary, dir := sums(t, Options{})
	for name, count := range summary.Records {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		got := 0
		switch filepath.Ext(name) {
		case ".ndjson":
			for line := range bytes.Lines(raw) {
				if got++; !json.Valid(line) {
					t.Fatalf("%s:%d is no JSON", name, got)
				}
			}
		case ".csv":
			rows, err := csv.NewReader(bytes.NewReader(raw)).ReadAll()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			got = len(rows) - 1
		case ".json":
			if got = 1; !json.Valid(raw) {
				t.Fatalf("%s is no JSON", name)
			}
		}
		if got != count || count == 0 {
			t.Errorf("%s: %d records, said %d", name, got, count)
		}
	}
	if len(summary.Records) != 16 {
		t.Errorf("%d files", len(summary.Records))
	}
	if _, err := os.Stat(filepath.Join(dir, "extract", "_COMPLETE")); err != nil {
		t.Error(err)
	}
}

// The inputs hold every kind of decision that the demo tells about.
func TestInputsOfAllKinds(t *testing.T) {
	_, _, dir := sums(t, Options{})
	for name, parts := range map[string][]string{
		registryFile: {",permit,active,", ",permit,revoked,", ",permit,expired,", ",deny,active,", ",part2,permit,active,", "tpo-2026", "tpo-2019",
			"registry-opt-out", ",state,", "entered-in-error", Exchange, HealthPlan},
		fhirConsentsFile:               {"OPTIN", "OPTOUT", `"provision":{"type":"permit"`, `"provision":{"type":"deny"`, "dataPeriod", "inactive"},
		restrictionsFile:               {"self-pay,acme-health-plan,,E-", "agreed", "privacy officer"},
		programsFile:                   {"organization,org-recovery", "column,1999"},
		fhirFile("Condition"):          {"F10.20", "F32.1", "F41.1"},
		fhirFile("Observation"):        {"44261-6", "70274-6", "75626-2", "component", "valueInteger", "valueQuantity", "entered-in-error"},
		fhirFile("Patient"):            {`"family":"White"`, "mothersMaidenName", "deceasedDateTime", `"birthDate":"19`, `"birthDate":"20`},
		fhirFile("Encounter"):          {programOrganization, clinicOrganization},
		scoresFile:                     {"Not Hispanic or Latino", ",es,", ",05901"},
		"extract/fhir/Coverage.ndjson": {"Acme", "Summit"},
	} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range parts {
			if !strings.Contains(string(raw), part) {
				t.Errorf("%s has no %q", name, part)
			}
		}
	}
}

// Visits and drug screening come on top: whoever does not ask for them has the
// clinic of before, whoever does has its people.
func TestVisits(t *testing.T) {
	_, plain, without := sums(t, Options{})
	_, more, dir := sums(t, Options{Visits: true})
	text := string(read(t, dir, visitsFile))
	for _, part := range []string{"visit_date,kind,outcome,", ",first-visit,kept,", ",follow-up,no-show,", ",cancelled,", ",crisis,kept,", ",emergency,", ",inpatient,kept,20", ",telephone,kept,", ",kept,,7,", ",Harbor Falls,MA,02601,"} {
		if !strings.Contains(text, part) {
			t.Errorf("no visit has %q", part)
		}
	}
	for name := range plain.Records {
		var left []byte
		for line := range bytes.Lines(read(t, dir, name)) {
			if !bytes.Contains(line, []byte("82667-7")) && !(name == encounters && bytes.Contains(line, []byte("T18:00:00"))) {
				left = append(left, line...)
			}
		}
		if !bytes.Equal(left, read(t, without, name)) {
			t.Errorf("%s: visits changed more than drug screening", name)
		}
	}
	if n := more.Records[scoresFile] - plain.Records[scoresFile]; n == 0 || n != more.Records[observations]-plain.Records[observations] {
		t.Errorf("%d rows of drug screening", n)
	}
}

func read(t *testing.T, dir, name string) []byte {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestExactlySoManyRecords(t *testing.T) {
	_, summary, _ := sums(t, Options{Records: 1003})
	if n := summary.Records[scoresFile]; n != 1003 || summary.Records[fhirFile("Observation")] != n || summary.Patients != 40 {
		t.Errorf("%d scores, %d patients", n, summary.Patients)
	}
}

func TestImpossibleClinics(t *testing.T) {
	for _, opt := range []Options{{Patients: -1}, {Records: -1}} {
		if _, err := Write(t.TempDir(), opt); err == nil {
			t.Errorf("%+v: written", opt)
		}
	}
	taken := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(taken, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Write(taken, Options{Patients: 1}); err == nil {
		t.Error("written below a file")
	}
}

func BenchmarkWrite(b *testing.B) {
	for b.Loop() {
		s, err := Write(b.TempDir(), Options{Records: 100000})
		if err != nil {
			b.Fatal(err)
		}
		b.SetBytes(s.Bytes)
	}
}
