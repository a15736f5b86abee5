package consent

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// classifierOf lays a classifier beside the shipped value sets.
func classifierOf(t testing.TB, text string) (*Classifier, error) {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(filepath.Join(dir, "sets"), os.DirFS("../policies/library/sets")); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "classifier.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return LoadClassifier(path, day("2026-07-05"))
}

// guide is the classifier of docs/classifier.md.
func guide(t testing.TB) *Classifier {
	t.Helper()
	text, err := os.ReadFile("../docs/classifier.md")
	if err != nil {
		t.Fatal(err)
	}
	_, example, _ := strings.Cut(string(text), "```yaml\npostern:")
	example, _, _ = strings.Cut(example, "```")
	c, err := classifierOf(t, "postern:"+example)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// coded is a record with these codes.
func coded(codes ...string) extract.Facts {
	f := score("p1", "2026-03-02")
	f.Codes = list(codes)
	return f
}

func TestClassifier(t *testing.T) {
	c := guide(t)
	atRyanWhite := coded("44261-6")
	atRyanWhite.Providers = list([]string{"Organization/ryan-white"})
	for _, x := range []struct {
		why   string
		f     extract.Facts
		label string
		want  match
	}{
		{"a code of the set", coded("F11.20"), "SUD", yes},
		{"written without its point, in small letters", coded("f1120"), "SUD", yes},
		{"a service", coded("90834", "H0020"), "SUD", yes},
		{"a code of the clinic's own", coded("our-iop-visit"), "SUD", yes},
		{"a site", atRyanWhite, "HIV", yes},
		{"no code of the set, which is complete", coded("44261-6"), "HIV", no},
		{"no code at all", coded(), "HIV", unsure},
		{"no code of the set, which is not complete", coded("44261-6"), "SUD", unsure},
		{"what lets a reader guess", coded("75626-2"), "SUD", unsure},
		{"a label above holds", coded("F11.20"), "BH", yes},
		{"a label above that nothing else declares", coded("44261-6"), "BH", unsure},
		{"a label below one that holds", coded("F11.20"), "OPIOIDUD", unsure},
		{"a label that nothing is declared for", coded("F11.20"), "STD", unsure},
	} {
		if got := c.says(&x.f, x.label); got != x.want {
			t.Errorf("%s: %v, want %v", x.why, got, x.want)
		}
	}
	nested, err := classifierOf(t, "postern: classifier/v1\nlabels:\n  SUD: {codes: [x], otherwise: not}\n  ETHUD: {codes: [y], perhaps: [], otherwise: not}\n")
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		f     extract.Facts
		label string
		want  match
	}{
		{coded("z"), "OPIOIDUD", no}, // not SUD, so not what is below
		{coded("x"), "ETHUD", no},    // SUD, and said not to be alcohol
		{coded("y"), "ETH", yes},     // alcohol is what is above
		{coded("z"), "BH", unsure},   // there are others below BH
		{coded("x"), "GDIS", unsure}, // not declared
		{coded("x"), "PSYTHPN", unsure},
	} {
		if got := nested.says(&x.f, x.label); got != x.want {
			t.Errorf("%s of %v: %v, want %v", x.label, len(x.f.Codes), got, x.want)
		}
	}
	if files := c.Files(); len(files) != 5 || filepath.Base(files[0].Path) != "classifier.yaml" || len(files[4].SHA256) != 64 {
		t.Errorf("files %v", files)
	}
}

func TestClassifierDecides(t *testing.T) {
	document := func(dataset, author string, types ...string) extract.Facts {
		f := coded(types...)
		f.Dataset, f.Providers = dataset, list([]string{author})
		return f
	}
	for name, c := range map[string]struct {
		registry string
		f        extract.Facts
		reasons  string
	}{
		"a denial of what it is":              {"p1,general,deny,active,,,HIV", coded("B20"), "consent-denied"},
		"a denial of what it is not":          {"p1,general,deny,active,,,HIV", coded("44261-6"), ""},
		"a denial of what it may be":          {"p1,general,deny,active,,,SUD", coded("82667-7"), "consent-denied,consent-indeterminate"},
		"what its own label says":             {"p1,general,deny,active,,,HIV", labelled(coded("44261-6"), "HIV"), "consent-denied"},
		"a session note by its type":          {"p1,general,permit,active", coded("session-note"), "psychotherapy-notes"},
		"a counseling note by its type":       {"p1,general,permit,active", document("DocumentReference", "Practitioner/p1", "counseling-note"), "sud-counseling-notes"},
		"a document of an author of notes":    {"p1,general,permit,active", document("Composition", "Practitioner/p7", "letter"), "psychotherapy-notes"},
		"a score by an author of notes":       {"p1,general,permit,active", document("Observation", "Practitioner/p7", "44261-6"), ""},
		"a document of no type may be a note": {"p1,general,permit,active", document("DocumentReference", "Practitioner/p1"), "psychotherapy-notes,sud-counseling-notes"},
		"a document of another type":          {"p1,general,permit,active", document("DocumentReference", "Practitioner/p1", "letter"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.req.Classifier = guide(t)
			w.registry(c.registry).expect(c.f, c.reasons)
			d, err := NewDecider(w.req, w.tables)
			w.must(err)
			if n := testing.AllocsPerRun(100, func() { d.Decide(&c.f) }); n != 0 {
				t.Errorf("%v allocations per decision", n)
			}
		})
	}
}

func TestLoadClassifierRefuses(t *testing.T) {
	for text, why := range map[string]string{
		"postern: classifier/v2\n":                                                                         "classifier/v1",
		"postern: classifier/v1\nlabels: {SUDS: {codes: [x]}}\n":                                           `"SUDS" is no sensitivity label`,
		"postern: classifier/v1\nlabels: {SUD: {otherwise: not}}\n":                                        "nothing bears the label",
		"postern: classifier/v1\nlabels: {SUD: {in: [none]}}\n":                                            `"none" is not under include`,
		"postern: classifier/v1\nlabels: {SUD: {codes: [x], otherwise: perhaps}}\n":                        "otherwise",
		"postern: classifier/v1\ninclude: {x: ../sets.yaml}\nlabels: {SUD: {in: [x]}}\n":                   "leaves the classifier's folder",
		"postern: classifier/v1\ninclude: {x: sets/none.yaml}\nnotes: {psychotherapy: {in: [x]}}\n":        "no such file",
		"postern: classifier/v1\ninclude: {x: over.yaml}\nnotes: {psychotherapy: {in: [x], kinds: [y]}}\n": "kinds",
	} {
		_, err := classifierOf(t, text)
		var mistakes *strictyaml.Errors
		if !errors.As(err, &mistakes) || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", why, err)
		}
	}
	if _, err := LoadClassifier(filepath.Join(t.TempDir(), "none.yaml"), 0); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
	dir := t.TempDir()
	for name, text := range map[string]string{
		"c.yaml": "postern: classifier/v1\ninclude: {x: s.yaml}\nlabels: {SUD: {in: [x]}}\n",
		"s.yaml": "postern: value-set/v1\ntitle: t\nsource: s\nlicence: l\neffective: {from: 2025-01-01, to: 2025-12-31}\ncodes: [x]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for on, refused := range map[string]bool{"2024-12-31": true, "2025-12-31": false, "2026-01-01": true} {
		if _, err := LoadClassifier(filepath.Join(dir, "c.yaml"), day(on)); (err != nil) != refused {
			t.Errorf("on %s: %v", on, err)
		}
	}
}
