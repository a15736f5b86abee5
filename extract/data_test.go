package extract

import (
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const sharedData = "../../shared/data"

// peer skips a test whose peer is missing, or fails it where all are required.
func peer(t testing.TB, name string, there bool) {
	t.Helper()
	if there {
		return
	}
	if os.Getenv("POSTERN_REQUIRE") == "all" {
		t.Fatalf("peer %s is missing", name)
	}
	t.Skipf("peer %s is missing", name)
}

func data(t testing.TB) {
	_, err := os.Stat(sharedData)
	peer(t, "shared data", err == nil)
}

// fileAt describes one file for reading.
func fileAt(t testing.TB, path string, rule *FileRule) File {
	t.Helper()
	f, err := FileAt(path, rule)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// readAll gives every record of the files to do.
func readAll(r *ChunkReader, do func(*Record)) error {
	defer r.Close()
	var c Chunk
	var rec Record
	s := NewScanner()
	for {
		err := r.Next(&c)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		for s.Reset(&c); s.Next(&rec); {
			do(&rec)
		}
	}
}

// tally counts records by dataset and reject reason.
type tally map[string]int

func (n tally) add(rec *Record) {
	key := rec.Dataset
	if rec.Reject != NoReason {
		key += " " + rec.Reject.String()
	}
	n[key]++
}

// dataFiles lists the files of shared data with one of the suffixes.
func dataFiles(t testing.TB, folder string, format Format, suffixes ...string) []File {
	t.Helper()
	data(t)
	var files []File
	err := filepath.WalkDir(filepath.Join(sharedData, folder), func(path string, d os.DirEntry, err error) error {
		for _, s := range suffixes {
			if err == nil && strings.HasSuffix(path, s) && !d.IsDir() {
				files = append(files, fileAt(t, path, &FileRule{Format: format}))
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// The figures were counted with jq and by the README of the data.
func TestSharedDataIsCounted(t *testing.T) {
	ndjson, single := []string{".ndjson", ".ndjson.gz"}, []string{".json", ".json.gz"}
	for _, c := range []struct {
		folder   string
		format   Format
		suffixes []string
		want     tally
	}{
		{"clinic", FHIRNDJSON, ndjson, tally{"CarePlan": 534, "Condition": 1363, "Encounter": 5578, "Goal": 320, "MedicationRequest": 1543, "Patient": 180, "Procedure": 4364}},
		{"surveys", FHIRNDJSON, ndjson, tally{"CarePlan": 22, "CareTeam": 22, "Condition": 246, "DiagnosticReport": 191, "Encounter": 372, "ImagingStudy": 1, "Immunization": 167,
			"MedicationAdministration": 2, "MedicationRequest": 103, "Observation": 1554, "Organization": 25, "Patient": 10, "Practitioner": 25, "Procedure": 531}},
		{"bulk-export", FHIRNDJSON, ndjson, tally{"(unreadable) schema": 4, "AllergyIntolerance": 11, "Condition": 555, "Device": 16, "DocumentReference": 1215, "Encounter": 1215, "Immunization": 161,
			"Location": 44, "MedicationRequest": 1745, "Organization": 43, "Patient": 13, "Practitioner": 43, "PractitionerRole": 43, "Procedure": 2056}},
		{"population", FHIRNDJSON, ndjson, tally{"Patient": 1144}},
		{"measure-reports", FHIRNDJSON, ndjson, tally{"MeasureReport": 27, "MeasureReport no-subject": 1}}, // one refers to a contained Patient
		{"edge", FHIRNDJSON, ndjson, tally{"(unreadable) malformed": 1, "Observation": 1, "Patient": 11}},
		{"bundles", FHIRJSON, single, tally{"CarePlan": 3, "CareTeam": 3, "Claim": 31, "Condition": 23, "DiagnosticReport": 18, "Encounter": 30, "ExplanationOfBenefit": 30, "Immunization": 48,
			"MedicationRequest": 1, "Observation": 261, "Organization": 6, "Patient": 4, "Practitioner": 6, "Procedure": 29}},
		{"measure-reports", FHIRJSON, single, tally{"CodeSystem": 1, "Coverage": 2, "Encounter": 8, "Location": 2, "MeasureReport": 12, "Observation": 5, "Organization": 14, "Patient": 9, "Practitioner": 7, "Task": 4}},
		{"edge", FHIRJSON, single, tally{"Bundle schema": 1, "Condition no-subject": 2, "Consent": 1, "Observation": 1, "Patient": 2, "Patient no-subject": 1}},
	} {
		got := tally{}
		if err := readAll(OpenChunks(dataFiles(t, c.folder, c.format, c.suffixes...)), got.add); err != nil {
			t.Fatal(err)
		}
		if !maps.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", c.folder, got, c.want)
		}
	}
}
