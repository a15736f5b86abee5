package deid

import (
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

func TestCutReference(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"resourceType":"O","a":{"reference":"@"}}`, `{"resourceType":"O"}`},
		{`{"resourceType":"O","a":{"reference":"@"},"b":1}`, `{"resourceType":"O","b":1}`},
		{`{"resourceType":"O","a":{"reference":"@","type":"P"}}`, `{"resourceType":"O","a":{"type":"P"}}`},
		{`{"resourceType":"O","a":{"type":"P","reference":"@"}}`, `{"resourceType":"O","a":{"type":"P"}}`},
		{`{"resourceType":"O","a":[{"reference":"@"},{"reference":"x"}]}`, `{"resourceType":"O","a":[{"reference":"x"}]}`},
		{`{"resourceType":"O","a":[{"reference":"x"},{"reference":"@"}]}`, `{"resourceType":"O","a":[{"reference":"x"}]}`},
		{`{"resourceType":"O","a":[{"b":[{"c":{"reference":"@"}}]}],"z":[1]}`, `{"resourceType":"O","z":[1]}`},
	} {
		at := strings.Index(c.line, `"@"`)
		line := []byte(c.line + "\n")
		if got := string(CutReference(line, Hole{Kind: Reference, Start: uint32(at), End: uint32(at + 3)})); got != c.want+"\n" {
			t.Errorf("%s: got %s", c.line, got)
		}
	}
}

func TestSplitReference(t *testing.T) {
	for text, want := range map[string]string{
		"Patient/p1":                          "Patient p1",
		"Patient/p1/_history/3":               "Patient p1",
		"https://x.example/fhir/Patient/p1":   "Patient p1",
		"http://x/Patient/p_1/_history/2":     "Patient p_1",
		"x/Patient/p1":                        "",
		"patient/p1":                          "",
		"Patient/":                            "",
		"Patient":                             "",
		"/p1":                                 "",
		"#p1":                                 "",
		"urn:uuid:1":                          "",
		"Practitioner?identifier=http://x/|1": "",
		"Patient/p1#x":                        "",
		"Patient/a\"b":                        "",
		"https://x.example/fhir/Patient/?a=1": "",
	} {
		typ, id, ok := splitReference([]byte(text))
		got := string(typ) + " " + string(id)
		if ok != (want != "") || ok && got != want {
			t.Errorf("%s: %v %s", text, ok, got)
		}
	}
}

func TestHoleMeetsItsRecord(t *testing.T) {
	plan := compile(t, fhirPolicy(policies.Identified, "Observation", "keep hasMember reference"), "Observation")
	var out Output
	err := plan.Engine().Apply(recordOf([]byte(`{"resourceType":"Observation","hasMember":[{"reference":"http://x/Observation/o2"}]}`)), nil, &out)
	if err != nil || len(out.Holes) != 1 {
		t.Fatal(err, out.Holes)
	}
	if out.Holes[0].Ref != RefHash([]byte("Observation/o2")) {
		t.Error("the hole does not name the record it points to")
	}
}

// References of a Bundle are written by its fullUrls, which need not hold the
// ids of the resources that they stand for.
func TestReferencesOfABundle(t *testing.T) {
	text := `{"resourceType":"Bundle","type":"transaction","entry":[` +
		`{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","id":"p"}},` +
		`{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Organization","id":"o"}},` +
		`{"fullUrl":"urn:uuid:3","resource":{"resourceType":"Location","id":"a"}},` +
		`{"fullUrl":"urn:uuid:3","resource":{"resourceType":"Location","id":"b"}},` +
		`{"fullUrl":"urn:uuid:4","resource":{"resourceType":"Encounter","subject":{"reference":"urn:uuid:1"},"serviceProvider":{"reference":"urn:uuid:2"},` +
		`"episodeOfCare":[{"reference":"urn:uuid:3"},{"reference":"urn:uuid:9"}]}}]}`
	plan := compile(t, fhirPolicy(policies.Identified, "Encounter", "keep subject reference", "keep serviceProvider reference", "keep episodeOfCare reference"), "Encounter")
	var out Output
	for rec := range bundled(t, text) {
		if rec.Dataset == "Encounter" {
			if err := plan.Engine().Apply(rec, nil, &out); err != nil {
				t.Fatal(err)
			}
		}
	}
	const want = `{"resourceType":"Encounter","subject":{"reference":"Patient/p"},"serviceProvider":{"reference":"Organization/o"}}`
	if got := string(out.Bytes); got != want+"\n" || len(out.Holes) != 1 || out.Holes[0].Ref != RefHash([]byte("Organization/o")) {
		t.Errorf("got %s with %d holes, want %s with 1", got, len(out.Holes), want)
	}
}

// An entry without an id has the one of its fullUrl, as references to it have.
func TestIDOfAnEntry(t *testing.T) {
	text := `{"resourceType":"Bundle","type":"transaction","entry":[` +
		`{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","gender":"female"}},` +
		`{"fullUrl":"urn:uuid:2","resource":{"resourceType":"Patient","id":"p2","gender":"male"}},` +
		`{"fullUrl":"urn:uuid:3","resource":{"resourceType":"Patient","modifierExtension":[{"url":"x"}]}}]}`
	for want, plan := range map[string]*Plan{
		`{"resourceType":"Patient","gender":"female","id":"1"}` + "\n" + `{"resourceType":"Patient","id":"p2","gender":"male"}`:                                      compile(t, fhirPolicy(policies.Identified, "Patient", "keep id", "keep gender"), "Patient"),
		`{"resourceType":"Patient","gender":"female","id":"????????????????????"}` + "\n" + `{"resourceType":"Patient","id":"????????????????????","gender":"male"}`: compile(t, fhirPolicy(policies.SafeHarbor, "Patient", "code id", "keep gender"), "Patient"),
		`{"resourceType":"Patient","gender":"female"}` + "\n" + `{"resourceType":"Patient","gender":"male"}`:                                                         compile(t, fhirPolicy(policies.Identified, "Patient", "keep gender"), "Patient"),
	} {
		engine := plan.Engine()
		var out Output
		for rec := range bundled(t, text) {
			if err := engine.Apply(rec, nil, &out); err != nil && !errors.Is(err, ErrUnsafe) {
				t.Fatal(err)
			}
		}
		if string(out.Bytes) != want+"\n" {
			t.Errorf("got %s, want %s", out.Bytes, want)
		}
		for _, c := range engine.Counts() {
			if c.Path == "Patient.id" && c.Out != 2 && strings.Contains(want, "id") {
				t.Errorf("%d ids are counted, want 2", c.Out)
			}
		}
	}
}

// bundled gives the records of a Bundle in a file.
func bundled(t *testing.T, text string) iter.Seq[*extract.Record] {
	t.Helper()
	path := filepath.Join(t.TempDir(), "x.json")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := extract.FileAt(path, &extract.FileRule{Format: extract.FHIRJSON})
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(*extract.Record) bool) {
		chunks := extract.OpenChunks([]extract.File{file})
		defer chunks.Close()
		var chunk extract.Chunk
		if err := chunks.Next(&chunk); err != nil {
			t.Error(err)
			return
		}
		scanner := extract.NewScanner()
		scanner.Reset(&chunk)
		var rec extract.Record
		for scanner.Next(&rec) && yield(&rec) {
		}
	}
}

func TestCodedReferences(t *testing.T) {
	plan := compile(t, fhirPolicy(policies.SafeHarbor, "Observation", "code subject reference", "code performer reference"), "Observation")
	rec := recordOf([]byte(`{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"performer":[{"reference":"Patient/p2"},{"reference":"Practitioner/p1"},{"reference":"Patient/p1"}]}`))
	var out Output
	_ = plan.Engine().Apply(rec, nil, &out)
	const own = `{"reference":"Patient/????????????????????"}`
	if got := string(out.Bytes); got != `{"resourceType":"Observation","subject":`+own+`,"performer":[`+own+"]}\n" || len(out.Holes) != 2 {
		t.Errorf("got %s", got)
	}
	for _, h := range out.Holes {
		if string(out.Bytes[h.Start:h.End]) != unfilled {
			t.Errorf("hole %+v", h)
		}
	}
	rec.Facts.Subjects = append(rec.Facts.Subjects, phi.Bytes("p2"))
	out.Reset()
	_ = plan.Engine().Apply(rec, nil, &out)
	if got := string(out.Bytes); got != "{\"resourceType\":\"Observation\"}\n" {
		t.Errorf("a record about two people got a code: %s", got)
	}
}
