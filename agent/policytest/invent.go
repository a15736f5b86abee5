package policytest

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
)

// inventor replaces what could tell of a person. Equal values become equal
// ones, so that records and inputs stay joined; days move together.
type inventor struct {
	known map[string]string // invented, by what was there
	prose map[string]bool   // of those, what was free text: it may say what a code says
	days  int               // by which every date is moved
}

// newInventor leaves the names of organizations as they are.
func newInventor(organizations []string) *inventor {
	days := 1 + rand.IntN(28)
	if rand.IntN(2) == 0 {
		days = -days
	}
	v := &inventor{known: map[string]string{}, prose: map[string]bool{}, days: days}
	for _, name := range organizations {
		v.known[name], v.prose[name] = name, true
	}
	return v
}

// value is what stands for a value of a class. Only codes, numbers and the
// like are what they were, and of those none that is somebody's identifier.
func (v *inventor) value(class extract.Class, text string) string {
	if text == "" {
		return ""
	}
	switch class {
	case extract.Code, extract.Number, extract.Boolean, extract.Unit, extract.Sex:
		if known, met := v.known[text]; (!met || known == text) && len(text) < 20 {
			return text
		}
	case extract.CodeSystem:
		for _, public := range []string{"http://loinc.org", "http://snomed.info/", "http://hl7.org/", "http://terminology.hl7.org/", "http://unitsofmeasure.org", "urn:ietf:bcp:47", "urn:oid:2.16.840.1.113883.", "http://www.nlm.nih.gov/", "http://www.ama-assn.org/"} {
			if strings.HasPrefix(text, public) {
				return text
			}
		}
	case extract.Race:
		return "Unknown"
	case extract.Ethnicity:
		return "Not Hispanic or Latino"
	case extract.Language:
		return "en"
	case extract.State:
		return "MA"
	case extract.Date, extract.BirthDate, extract.DeathDate:
		return v.moved(text)
	case extract.FreeText:
		if _, identifies := v.known[text]; !identifies {
			v.prose[text] = true
		}
	case extract.ProviderKey:
		return v.invented(text, providerNumber)
	case extract.Link:
		if kind, id, ok := strings.Cut(text, "/"); ok && extract.TypeOf(kind) != nil {
			return kind + "/" + v.invented(id, shape)
		}
	}
	return v.invented(text, shape)
}

func (v *inventor) invented(text string, invent func(string) string) string {
	if known, ok := v.known[text]; ok {
		return known
	}
	value := invent(text)
	for range 100 { // a short value may come out as it was
		if value != text {
			break
		}
		value = invent(text)
	}
	v.known[text] = value
	return value
}

// shape is text of the same shape: letters for letters, digits for digits.
func shape(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= '0' && r <= '9':
			return '0' + rand.Int32N(10)
		case r >= 'a' && r <= 'z' || r > 127:
			return 'a' + rand.Int32N(26)
		case r >= 'A' && r <= 'Z':
			return 'A' + rand.Int32N(26)
		}
		return r
	}, text)
}

// providerNumber is one with the check digit of an NPI, where there was one
// (45 CFR 162.406: ISO/IEC 7812-1 over 80840 and the number).
func providerNumber(text string) string {
	if len(text) != 10 || strings.Trim(text, "0123456789") != "" {
		return shape(text)
	}
	digits := "1" + shape(text[1:9])
	sum := 24
	for i := range 9 {
		d := int(digits[i] - '0')
		if i%2 == 0 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return digits + string(rune('0'+(10-sum%10)%10))
}

// moved moves a date, in whatever precision it is written.
func (v *inventor) moved(text string) string {
	for _, layout := range []string{time.DateOnly, time.RFC3339, "2006-01-02T15:04:05.999Z07:00", "01/02/2006", "20060102"} {
		if at, err := time.Parse(layout, text); err == nil {
			return at.AddDate(0, 0, v.days).Format(layout)
		}
	}
	if len(text) == 4 && strings.Trim(text, "0123456789") == "" {
		return text // a year; moving by days changes none but by chance
	}
	return v.invented(text, shape)
}

// row replaces the cells of a row, by the classes of its schema.
func (v *inventor) row(rec *extract.Record, schema *extract.Schema) []byte {
	b := []byte{'{'}
	for i := range schema.Fields {
		if i >= len(rec.Row) || len(rec.Row[i]) == 0 {
			continue
		}
		f := &schema.Fields[i]
		b = appendPair(b, f.Name, v.value(f.Class, string(rec.Row[i])))
	}
	return append(b, '}')
}

func appendPair(b []byte, key, value string) []byte {
	if len(b) > 1 {
		b = append(b, ", "...)
	}
	k, _ := json.Marshal(key)
	q, _ := json.Marshal(value)
	return append(append(append(b, k...), ": "...), q...)
}

// resource replaces the leaves of a FHIR resource, by the element table. What
// the table does not know, and narrative, extensions and contained resources,
// are left out.
func (v *inventor) resource(rec *extract.Record) ([]byte, error) {
	decoder := json.NewDecoder(bytes.NewReader(rec.Raw))
	decoder.UseNumber()
	var value map[string]any
	if err := decoder.Decode(&value); err != nil {
		return nil, err
	}
	kept := v.object(value, extract.TypeOf(rec.Dataset))
	kept["resourceType"] = rec.Dataset
	return json.Marshal(kept)
}

func (v *inventor) object(value map[string]any, typ *extract.TypeDef) map[string]any {
	kept := map[string]any{}
	for name, below := range value {
		e := typ.Element(name)
		if e == nil || name == "text" || name == "contained" || name == "extension" {
			continue
		}
		if below = v.element(below, e); below != nil {
			kept[name] = below
		}
	}
	return kept
}

func (v *inventor) element(value any, e *extract.Element) any {
	switch value := value.(type) {
	case []any:
		for i := range value {
			value[i] = v.element(value[i], e)
		}
		return value
	case map[string]any:
		if typ := extract.TypeOf(e.Type); typ != nil {
			return v.object(value, typ)
		}
		return nil
	case string:
		return v.value(e.Class, value)
	case json.Number:
		return json.Number(v.value(e.Class, value.String()))
	}
	return value
}
