package extract

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// maxSchema is the largest schema file that is read.
const maxSchema = 1 << 20

// LoadSchema reads a Table Schema (JSON). It is strict: an unknown key, a
// value of another type, a field without class is an error with line and key
// path, and all of them are reported together.
func LoadSchema(path string) (*Schema, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, maxSchema+1))
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	return ParseSchema(path, raw)
}

// ParseSchema is LoadSchema of bytes already read; file is for diagnostics.
func ParseSchema(file string, raw []byte) (*Schema, error) {
	if len(raw) > maxSchema {
		return nil, fmt.Errorf("%s: a schema is not larger than %d bytes", file, maxSchema)
	}
	r := &schemaReader{file: file, raw: bytes.TrimPrefix(raw, byteOrderMark), unique: map[string]int32{}}
	var t tape
	if f := t.read(r.raw); f.why != "" {
		return nil, fmt.Errorf("%s:%d: %s", file, r.line(int32(f.at)), f.why)
	}
	r.doc = t.doc
	sum := sha256.Sum256(raw)
	s := &Schema{File: file, SHA256: hex.EncodeToString(sum[:]), Missing: []string{""}, Delimiter: ',', Quote: '"', Header: true}
	if r.schema(s); len(r.errs) > 0 {
		return nil, errors.Join(r.errs...)
	}
	return s, nil
}

// schemaReader walks the tape of a schema file and collects what is wrong.
type schemaReader struct {
	file string
	raw  []byte
	doc  Doc
	errs []error

	unique map[string]int32 // columns that ask for unique values, and where
}

func (r *schemaReader) line(at int32) int {
	return 1 + bytes.Count(r.raw[:min(int(at), len(r.raw))], newline)
}

func (r *schemaReader) wrong(at int32, path, format string, args ...any) {
	r.errs = append(r.errs, fmt.Errorf("%s:%d: %s: %s", r.file, r.line(r.doc[at].Start), path, fmt.Sprintf(format, args...)))
}

// keys are the members that an object may have, and what to do with each.
type keys map[string]func(at int32, path string)

func ignored(int32, string) {}

// object walks an object; keys it must have are in required.
func (r *schemaReader) object(at int32, path string, known keys, required ...string) {
	if r.doc[at].Kind != Object {
		r.wrong(at, path, "must be an object")
		return
	}
	for i := at + 1; i < r.doc[at].Next; i = r.doc[i].Next {
		name := string(r.raw[r.doc[i].Start:r.doc[i].End])
		inner := strings.TrimPrefix(path+"."+name, "schema.")
		if read := known[name]; read != nil {
			read(i+1, inner)
			continue
		}
		names := make([]string, 0, len(known))
		for k := range known {
			names = append(names, k)
		}
		slices.Sort(names)
		hint := "known are " + strings.Join(names, ", ")
		if near := strictyaml.Nearest(name, names); near != "" {
			hint = "did you mean " + near + "?"
		}
		r.wrong(i, inner, "unknown key; %s", hint)
	}
	for _, name := range required {
		if member(r.raw, r.doc, at, name) < 0 {
			r.wrong(at, path, "%q is missing", name)
		}
	}
}

func (r *schemaReader) text(at int32, path string) string {
	tok := r.doc[at]
	if tok.Kind != String {
		r.wrong(at, path, "must be a string")
		return ""
	}
	return string(Unescape(nil, r.raw[tok.Start:tok.End]))
}

func (r *schemaReader) boolean(at int32, path string) bool {
	if k := r.doc[at].Kind; k != True && k != False {
		r.wrong(at, path, "must be true or false")
	}
	return r.doc[at].Kind == True
}

func (r *schemaReader) number(at int32, path string) float64 {
	tok := r.doc[at]
	n, err := strconv.ParseFloat(string(r.raw[tok.Start:tok.End]), 64)
	if tok.Kind != Numeral || err != nil {
		r.wrong(at, path, "must be a number")
	}
	return n
}

func (r *schemaReader) count(at int32, path string) int {
	n := r.number(at, path)
	if n != float64(int(n)) || n < 0 {
		r.wrong(at, path, "must be a whole number")
	}
	return int(n)
}

// list walks an array.
func (r *schemaReader) list(at int32, path string, each func(at int32, path string)) {
	if r.doc[at].Kind != Array {
		r.wrong(at, path, "must be a list")
		return
	}
	n := 0
	for i := at + 1; i < r.doc[at].Next; i = r.doc[i].Next {
		each(i, fmt.Sprintf("%s[%d]", path, n))
		n++
	}
}

// texts reads a list of strings; numbers and booleans are taken as written.
func (r *schemaReader) texts(at int32, path string) []string {
	out := []string{}
	r.list(at, path, func(at int32, path string) {
		switch tok := r.doc[at]; tok.Kind {
		case Numeral, True, False:
			out = append(out, string(r.raw[tok.Start:tok.End]))
		default:
			out = append(out, r.text(at, path))
		}
	})
	return out
}

// oneOf reads a string that must be one of names.
func (r *schemaReader) oneOf(at int32, path string, names []string) string {
	v := r.text(at, path)
	if !slices.Contains(names, v) {
		r.wrong(at, path, "must be one of %s", strings.Join(names, ", "))
	}
	return v
}

func (r *schemaReader) schema(s *Schema) {
	var key string
	keyAt := int32(-1)
	r.object(0, "schema", keys{
		"$schema": ignored, "name": ignored, "title": ignored, "description": ignored,
		"fields": func(at int32, path string) {
			r.list(at, path, func(at int32, path string) { s.Fields = append(s.Fields, r.field(at, path)) })
			r.roles(s, at, path)
		},
		"missingValues": func(at int32, path string) { s.Missing = r.texts(at, path) },
		"primaryKey": func(at int32, path string) {
			keyAt = at
			if r.doc[at].Kind != Array {
				key = r.text(at, path)
			} else if k := r.texts(at, path); len(k) == 1 {
				key = k[0]
			} else {
				r.wrong(at, path, "must name one column; give the rows an id of their own")
			}
		},
		"dialect": func(at int32, path string) { r.dialect(s, at, path) },
	}, "fields")
	if keyAt >= 0 && key != "" {
		r.primaryKey(s, key, keyAt)
	}
	for i := range s.Fields {
		if at := r.unique[s.Fields[i].Name]; at > 0 && s.Fields[i].Role != RoleRecord {
			r.wrong(at, "fields["+strconv.Itoa(i)+"].constraints.unique", "is checked only for the column of role record; remove it")
		}
	}
	if s.Quote == s.Delimiter {
		r.wrong(0, "dialect", "delimiter and quoteChar must differ")
	}
}

// primaryKey makes the named column the id of the row.
func (r *schemaReader) primaryKey(s *Schema, key string, at int32) {
	i := s.Column(key)
	if i < 0 {
		r.wrong(at, "primaryKey", "names no column")
		return
	}
	for j := range s.Fields {
		if s.Fields[j].Role == RoleRecord && j != i {
			r.wrong(at, "primaryKey", "names another column than the one of role record")
			return
		}
	}
	if f := &s.Fields[i]; f.Role == RoleNone {
		f.Role = RoleRecord
	} else if f.Role != RoleRecord {
		r.wrong(at, "primaryKey", "names a column of role %s; one column has one role", f.Role)
	}
}

// roles checks the fields as a whole.
func (r *schemaReader) roles(s *Schema, at int32, path string) {
	if len(s.Fields) == 0 {
		r.wrong(at, path, "must name the columns")
	}
	names, roles := map[string]bool{}, map[Role]int{}
	for i := range s.Fields {
		f := &s.Fields[i]
		if names[f.Name] {
			r.wrong(at, path, "two columns have the name %q", f.Name)
		}
		names[f.Name] = true
		roles[f.Role]++
	}
	for _, role := range []Role{RoleRecord, RoleDate, RoleEncounter, RoleStatus} {
		if roles[role] > 1 {
			r.wrong(at, path, "only one column may have the role %s", role)
		}
	}
	s.concernsPatients = roles[RoleSubject] > 0
}

func (r *schemaReader) dialect(s *Schema, at int32, path string) {
	r.object(at, path, keys{
		"delimiter": func(at int32, path string) {
			if v := r.oneOf(at, path, []string{",", "\t", "|", ";"}); v != "" {
				s.Delimiter = v[0]
			}
		},
		"quoteChar": func(at int32, path string) {
			switch r.doc[at].Kind {
			case Null:
				s.Quote = 0
			default:
				if v := r.oneOf(at, path, []string{`"`, "'"}); v != "" {
					s.Quote = v[0]
				}
			}
		},
		"doubleQuote": func(at int32, path string) {
			if !r.boolean(at, path) {
				r.wrong(at, path, "must be true: a quote in a quoted cell is doubled (RFC 4180)")
			}
		},
		"header": func(at int32, path string) { s.Header = r.boolean(at, path) },
	})
}

func (r *schemaReader) field(at int32, path string) Field {
	f := Field{Type: TypeString, Role: RoleNone, True: []string{"true", "True", "TRUE", "1"}, False: []string{"false", "False", "FALSE", "0"}}
	var unique int32
	r.object(at, path, keys{
		"title": ignored, "description": ignored, "example": ignored, "rdfType": ignored,
		"name":        func(at int32, path string) { f.Name = r.text(at, path) },
		"type":        func(at int32, path string) { f.Type = FieldType(r.oneOf(at, path, typeNames)) },
		"format":      func(at int32, path string) { f.format = r.text(at, path) },
		"trueValues":  func(at int32, path string) { f.True = r.texts(at, path) },
		"falseValues": func(at int32, path string) { f.False = r.texts(at, path) },
		"role":        func(at int32, path string) { f.Role = Role(r.oneOf(at, path, roleNames)) },
		"class":       func(at int32, path string) { f.Class = r.class(at, path) },
		"constraints": func(at int32, path string) { unique = r.constraints(&f, at, path) },
	}, "name", "class")
	if f.Name == "" {
		r.wrong(at, path, "a column needs a name")
	}
	r.format(&f, at, path)
	if unique > 0 {
		r.unique[f.Name] = unique
	}
	if (f.rules.minimum != nil || f.rules.maximum != nil) && f.Type != TypeInteger && f.Type != TypeNumber {
		r.wrong(at, path, "minimum and maximum are for columns of type integer or number")
	}
	if f.Role == RoleDate && !strings.Contains("date datetime year yearmonth", string(f.Type)) {
		r.wrong(at, path, "the column of role date must have the type date, datetime, year or yearmonth")
	}
	return f
}

func (r *schemaReader) class(at int32, path string) Class {
	name := r.text(at, path)
	c, ok := ParseClass(name)
	if ok && c != Unclassed {
		return c
	}
	names := ClassNames()[1:]
	if near := strictyaml.Nearest(name, names); near != "" {
		r.wrong(at, path, "is no class; did you mean %s?", near)
	} else {
		r.wrong(at, path, "is no class; classes are %s", strings.Join(names, ", "))
	}
	return Unclassed
}

// format settles how a column's values are written.
func (r *schemaReader) format(f *Field, at int32, path string) {
	if f.format == "default" {
		f.format = ""
	}
	if f.format == "" {
		return
	}
	if f.Type != TypeDate && f.Type != TypeDateTime {
		r.wrong(at, path, "format is for columns of type date or datetime; constrain others by pattern")
		return
	}
	rest := f.format
	for _, known := range []string{"%Y", "%m", "%d", "%H", "%M", "%S"} {
		n := strings.Count(rest, known)
		if n > 1 || n == 0 && strings.Contains("%Y%m%d", known) {
			r.wrong(at, path, "format must hold %%Y, %%m and %%d once each")
		}
		rest = strings.ReplaceAll(rest, known, "")
	}
	if strings.Contains(rest, "%") {
		r.wrong(at, path, "format knows %%Y, %%m, %%d, %%H, %%M and %%S")
		f.format = ""
	}
}

// constraints reads what is demanded of a field's cells; it gives where
// `unique` is asked for, 0 when it is not.
func (r *schemaReader) constraints(f *Field, at int32, path string) (unique int32) {
	c := &f.rules
	limit := func(to **float64) func(int32, string) {
		return func(at int32, path string) { n := r.number(at, path); *to = &n }
	}
	r.object(at, path, keys{
		"required":  func(at int32, path string) { c.required = r.boolean(at, path) },
		"minLength": func(at int32, path string) { c.minLength = r.count(at, path) },
		"maxLength": func(at int32, path string) { c.maxLength = r.count(at, path) },
		"minimum":   limit(&c.minimum),
		"maximum":   limit(&c.maximum),
		"enum":      func(at int32, path string) { c.enum = r.texts(at, path) },
		"unique": func(at int32, path string) {
			if r.boolean(at, path) {
				unique = at
			}
		},
		"pattern": func(at int32, path string) {
			var err error
			if c.pattern, err = regexp.Compile(`\A(?:` + r.text(at, path) + `)\z`); err != nil {
				r.wrong(at, path, "is no pattern: %v", err)
			}
		},
	})
	return unique
}
