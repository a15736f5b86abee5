package consent

import (
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// Classifier tells what records are about from their codes and from whom they
// name, where their own labels do not say it. It never reads display text. Its
// answer is three-valued: what it cannot tell neither permits nor escapes a
// denial. It is filled by LoadClassifier and then only read.
type Classifier struct {
	rules                     map[string]*labelRule
	psychotherapy, counseling noteRule
	files                     []ClassifierFile
}

// labelRule says which records bear one sensitivity label.
type labelRule struct {
	codes     policies.CodeSet
	providers []string         // authors, sites or payers that only such records name: Type/id, or the bare ids of columns
	perhaps   policies.CodeSet // codes from which it can be inferred
	closed    bool             // nothing else bears it
}

// says tells whether a record bears a label, or one below it, by what is
// declared. A label that nothing is declared for cannot be told, unless one
// above it is known not to be there.
func (c *Classifier) says(f *extract.Facts, label string) match {
	m, told := no, false
	if rule := c.rules[label]; rule != nil {
		m, told = rule.of(f), true
	}
	for below, rule := range c.rules {
		if isBelow(below, label) {
			m = max(m, rule.of(f))
		}
	}
	for above := sensitivities[label]; above != "" && !told; above = sensitivities[above] {
		rule := c.rules[above]
		told = rule != nil && rule.of(f) == no
	}
	if !told {
		return max(m, unsure)
	}
	return m
}

// isBelow tells whether one label is nested in another.
func isBelow(label, above string) bool {
	for label = sensitivities[label]; label != ""; label = sensitivities[label] {
		if label == above {
			return true
		}
	}
	return false
}

func (r *labelRule) of(f *extract.Facts) match {
	switch {
	case holdsAny(&r.codes, f.Codes), namesAny(r.providers, f.Providers):
		return yes
	case !r.closed, len(f.Codes) == 0, holdsAny(&r.perhaps, f.Codes):
		return unsure
	}
	return no
}

// noteRule says which documents are session notes.
type noteRule struct {
	types   policies.CodeSet
	authors []string // whose documents all are
	asked   bool     // the clinic has named some
}

// notesOf are those of some types.
func notesOf(types []string) noteRule {
	return noteRule{types: bareCodes(policies.Codes(types...)), asked: len(types) > 0}
}

// documents are the resource types that notes are kept as.
var documents = []string{"DocumentReference", "Composition", "DocumentManifest"}

// of tells whether a record is such a note. A document that does not say of
// which type it is may be one.
func (r *noteRule) of(f *extract.Facts) bool {
	document := slices.Contains(documents, f.Dataset)
	return holdsAny(&r.types, f.Codes) || document && r.asked && (len(f.Codes) == 0 || namesAny(r.authors, f.Providers))
}

// notes is step 2 by the clinic's document types and authors (45 CFR 164.501,
// 42 CFR 2.11).
func (c *Classifier) notes(f *extract.Facts) (r extract.ReasonSet) {
	if c == nil {
		return 0
	}
	if c.psychotherapy.of(f) {
		r = r.With(extract.PsychotherapyNotes)
	}
	if c.counseling.of(f) {
		r = r.With(extract.SUDCounselingNotes)
	}
	return r
}

// namesAny tells whether a record names one of the listed providers.
func namesAny(listed []string, named []phi.Bytes) bool {
	for _, p := range named {
		if contains(listed, p) {
			return true
		}
	}
	return false
}

// holdsAny tells whether a set of bare codes holds one of a record's.
func holdsAny(set *policies.CodeSet, codes []phi.Bytes) bool {
	for _, code := range codes {
		var bare [64]byte // a longer one is made elsewhere
		if set.Contains(string(appendBare(bare[:0], code))) {
			return true
		}
	}
	return false
}

// appendBare appends a code in capitals and without points: as claims write the
// codes of ICD-10, and as these are compared with those of records.
func appendBare[T ~[]byte | ~string](dst []byte, code T) []byte {
	for i := range len(code) {
		switch c := code[i]; {
		case c == '.':
		case 'a' <= c && c <= 'z':
			dst = append(dst, c-('a'-'A'))
		default:
			dst = append(dst, c)
		}
	}
	return dst
}

// bareCodes is a set with all its codes bare.
func bareCodes(set policies.CodeSet) policies.CodeSet {
	var parts []policies.CodeSet
	bare := func(code string) string { return string(appendBare(nil, code)) }
	set.Each(func(from, to string, deep bool) {
		switch {
		case !deep && from == to:
			parts = append(parts, policies.Codes(bare(from)))
		default:
			parts = append(parts, policies.CodeRange(bare(from), bare(to)))
		}
	})
	return policies.Union(parts...)
}
