package consent

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// classifierFile is the shape of a classifier.
type classifierFile struct {
	Postern string                        `yaml:"postern,required" words:"classifier/v1" why:"this version of Postern reads classifier/v1"`
	Include strictyaml.Ordered[string]    `yaml:"include"`
	Labels  strictyaml.Ordered[labelFile] `yaml:"labels"`
	Notes   struct {
		Psychotherapy noteFile `yaml:"psychotherapy"`
		Counseling    noteFile `yaml:"sud-counseling"`
	} `yaml:"notes"`
}

type labelFile struct {
	In        []string `yaml:"in"`        // value sets whose codes bear the label
	Codes     []string `yaml:"codes"`     // codes that do, one by one
	Providers []string `yaml:"providers"` // authors, sites, payers: what names one bears it
	Perhaps   []string `yaml:"perhaps"`   // value sets from which it can be inferred
	Otherwise string   `yaml:"otherwise" words:"not|cannot tell"`
}

type noteFile struct {
	In      []string `yaml:"in"`
	Types   []string `yaml:"types"`
	Authors []string `yaml:"authors"`
}

// ClassifierFile is a file that a classifier is made of.
type ClassifierFile struct{ Path, SHA256 string }

// LoadClassifier reads what the clinic has declared about labels and session
// notes, with the value sets it includes, which must be in force on a day. A
// file that cannot be read gives the error of the operating system; all other
// errors are a *strictyaml.Errors with every mistake.
func LoadClassifier(path string, on extract.Day) (*Classifier, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the classifier: %w", err)
	}
	var f classifierFile
	source, _ := strictyaml.Decode(path, data, &f)
	sum := sha256.Sum256(data)
	r := &classifierReading{source: source, sets: map[string]policies.CodeSet{}, on: on,
		c: &Classifier{rules: map[string]*labelRule{}, files: []ClassifierFile{{path, hex.EncodeToString(sum[:])}}}}
	for _, in := range f.Include {
		r.include(in.Key, in.Path, in.Value)
	}
	for _, l := range f.Labels {
		r.label(l.Key, l.Path, &l.Value)
	}
	r.c.psychotherapy = r.note("notes.psychotherapy", &f.Notes.Psychotherapy)
	r.c.counseling = r.note("notes.sud-counseling", &f.Notes.Counseling)
	return r.c, source.Errors().Err()
}

// Files are the files that the classifier was read from: itself, then its value
// sets in their order.
func (c *Classifier) Files() []ClassifierFile { return c.files }

type classifierReading struct {
	source *strictyaml.Source
	sets   map[string]policies.CodeSet // empty where one cannot be read
	on     extract.Day
	c      *Classifier
}

func (r *classifierReading) wrong(path, hint, format string, args ...any) {
	r.source.Errors().Add(r.source.At(path), path, fmt.Sprintf(format, args...), hint)
}

// include reads a value set, relative to the classifier.
func (r *classifierReading) include(name, path, file string) {
	file, r.sets[name] = filepath.FromSlash(file), policies.CodeSet{}
	if !filepath.IsLocal(file) {
		r.wrong(path, "keep it beside the classifier and name it by a relative path", "%q leaves the classifier's folder", file)
		return
	}
	file = filepath.Join(filepath.Dir(r.source.File), file)
	set, sum, err := policies.LoadValueSet(file)
	switch {
	case err != nil:
		r.wrong(path, "", "%v", err)
		return
	case r.on < set.From, set.To != extract.NoDay && r.on > set.To:
		r.wrong(path, "take a newer one", "the value set is not in force on %s", r.on)
	}
	r.sets[name] = set.Codes
	r.c.files = append(r.c.files, ClassifierFile{file, sum})
}

// codes are those of the named value sets together with single ones, bare.
func (r *classifierReading) codes(path string, names, single []string) policies.CodeSet {
	sets := []policies.CodeSet{policies.Codes(single...)}
	for i, name := range names {
		set, known := r.sets[name]
		if !known {
			r.wrong(fmt.Sprintf("%s[%d]", path, i), "add it there, with the path of its file", "the value set %q is not under include", name)
		}
		sets = append(sets, set)
	}
	return bareCodes(policies.Union(sets...))
}

func (r *classifierReading) label(label, path string, f *labelFile) {
	if !isSensitivity(label) {
		r.wrong(path, "labels are HL7 sensitivity codes, such as SUD, PSY, HIV", "%q is no sensitivity label", label)
	}
	if len(f.In)+len(f.Codes)+len(f.Providers) == 0 {
		r.wrong(path, "add in:, codes: or providers:", "nothing bears the label")
	}
	r.c.rules[label] = &labelRule{
		codes: r.codes(path+".in", f.In, f.Codes), perhaps: r.codes(path+".perhaps", f.Perhaps, nil),
		providers: trimmed(f.Providers), closed: f.Otherwise == "not",
	}
}

func (r *classifierReading) note(path string, f *noteFile) noteRule {
	return noteRule{types: r.codes(path+".in", f.In, f.Types), authors: trimmed(f.Authors), asked: len(f.In)+len(f.Types)+len(f.Authors) > 0}
}

func trimmed(list []string) []string {
	for i, v := range list {
		list[i] = strings.TrimSpace(v)
	}
	return list
}
