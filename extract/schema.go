package extract

import (
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// Schema describes a delimited dataset: a Frictionless Table Schema (v1) with
// its dialect, in which every field also has a `class` and may have a `role`.
// It is immutable and safe for concurrent use.
type Schema struct {
	File      string // as given to LoadSchema
	SHA256    string // hex, of the file's bytes
	Fields    []Field
	Missing   []string // cells that stand for no value; "" unless declared otherwise
	Delimiter byte
	Quote     byte // 0: cells are never quoted
	Header    bool // the first row names the columns

	concernsPatients bool // has a column of role subject
}

// Role is what a column means for decisions.
type Role string

const (
	RoleNone      Role = "none"
	RoleSubject   Role = "subject"   // id of a patient
	RoleRecord    Role = "record"    // id of the row
	RoleDate      Role = "date"      // date of the service or event
	RoleEncounter Role = "encounter" // id of the encounter
	RoleProvider  Role = "provider"  // id of an organization, location or practitioner
	RoleCode      Role = "code"      // instrument or main code
	RoleStatus    Role = "status"
	RoleDerived   Role = "derived-from" // id of a row that this one is derived from, or DATASET/id; several columns may have it
)

// Field is one column.
type Field struct {
	Name  string
	Type  FieldType
	Class Class
	Role  Role

	format      string // of dates: a strptime pattern; "" is the default of the type
	True, False []string
	rules       constraints
}

// Enum lists the only values that the schema lets the cells of a column have;
// nil when it does not say.
func (f *Field) Enum() []string { return f.rules.Enum }

// FieldType is a type of Table Schema.
type FieldType string

const (
	TypeString    FieldType = "string"
	TypeInteger   FieldType = "integer"
	TypeNumber    FieldType = "number"
	TypeBoolean   FieldType = "boolean"
	TypeDate      FieldType = "date"
	TypeDateTime  FieldType = "datetime"
	TypeYear      FieldType = "year"
	TypeYearMonth FieldType = "yearmonth"
)

// constraints are what Table Schema lets a field demand of its cells.
type constraints struct {
	Required  bool     `yaml:"required"`
	Unique    bool     `yaml:"unique"` // of the record's id, which the run checks
	MinLength int      `yaml:"minLength"`
	MaxLength int      `yaml:"maxLength"` // 0: any
	Pattern   *pattern `yaml:"pattern"`
	Enum      []string `yaml:"enum"`
	Minimum   *float64 `yaml:"minimum"`
	Maximum   *float64 `yaml:"maximum"`
}

// Names gives the names of the columns in their order.
func (s *Schema) Names() []string {
	names := make([]string, len(s.Fields))
	for i := range s.Fields {
		names[i] = s.Fields[i].Name
	}
	return names
}

// Column gives the place of a column by name, -1 when there is none.
func (s *Schema) Column(name string) int {
	return slices.IndexFunc(s.Fields, func(f Field) bool { return f.Name == name })
}

func (s *Schema) rowEnd() rowEnd { return rowEnd{quote: s.Quote, delimiter: s.Delimiter} }

func (s *Schema) missing(cell []byte) bool { return isOneOf(cell, s.Missing) }

func isOneOf(cell []byte, values []string) bool {
	for _, v := range values {
		if string(cell) == v {
			return true
		}
	}
	return false
}

// check tells what is wrong with a cell; "" when nothing is. An empty cell is
// no value. The span is that of a date.
func (f *Field) check(cell []byte) (Span, string) {
	if len(cell) == 0 {
		if f.rules.Required {
			return NoSpan, "is empty, and is required"
		}
		return NoSpan, ""
	}
	span, ok := NoSpan, true
	switch f.Type {
	case TypeString:
	case TypeInteger:
		ok = isInteger(cell)
	case TypeNumber:
		ok = isNumber(cell)
	case TypeBoolean:
		ok = isOneOf(cell, f.True) || isOneOf(cell, f.False)
	default:
		span, ok = f.Span(cell)
	}
	if !ok {
		return NoSpan, "is no " + string(f.Type) + " as the schema has it"
	}
	return span, f.rules.check(cell)
}

// none tells that a cell may hold anything.
func (c *constraints) none() bool {
	return !c.Required && c.MinLength == 0 && c.MaxLength == 0 && c.Pattern == nil && c.Enum == nil && c.Minimum == nil && c.Maximum == nil
}

func (c *constraints) check(cell []byte) string {
	if c.MinLength > 0 || c.MaxLength > 0 {
		if n := utf8.RuneCount(cell); n < c.MinLength || c.MaxLength > 0 && n > c.MaxLength {
			return "has not the length the schema allows"
		}
	}
	if c.Pattern != nil && !c.Pattern.Match(cell) {
		return "does not match the pattern of the schema"
	}
	if c.Enum != nil && !isOneOf(cell, c.Enum) {
		return "is none of the values the schema lists"
	}
	if c.Minimum != nil || c.Maximum != nil {
		n, ok := number(cell)
		if !ok || c.Minimum != nil && n < *c.Minimum || c.Maximum != nil && n > *c.Maximum {
			return "is outside the range the schema allows"
		}
	}
	return ""
}

// number is the value of a cell that isNumber takes. Most are small and whole.
func number(cell []byte) (float64, bool) {
	if len(cell) > 15 || scanDigits(cell, 0) != len(cell) {
		n, err := strconv.ParseFloat(string(cell), 64)
		return n, err == nil
	}
	n := int64(0)
	for _, c := range cell {
		n = 10*n + int64(c-'0')
	}
	return float64(n), true
}

func isInteger(b []byte) bool {
	b = unsigned(b)
	return len(b) > 0 && scanDigits(b, 0) == len(b)
}

// isNumber takes a decimal number as XML Schema and Table Schema write it,
// without the words NaN and INF.
func isNumber(b []byte) bool {
	b = unsigned(b)
	whole := max(scanDigits(b, 0), 0)
	digits := whole
	if b = b[whole:]; len(b) > 0 && b[0] == '.' {
		part := max(scanDigits(b, 1), 1)
		digits += part - 1
		b = b[part:]
	}
	return digits > 0 && (len(b) == 0 || b[0]|0x20 == 'e' && isInteger(b[1:]))
}

func unsigned(b []byte) []byte {
	if len(b) > 0 && (b[0] == '-' || b[0] == '+') {
		return b[1:]
	}
	return b
}

// Formatted tells whether dates are written in a form that the schema gives.
func (f *Field) Formatted() bool { return f.format != "" }

// Span reads a cell of a date column, in the format that the schema gives.
func (f *Field) Span(cell []byte) (Span, bool) {
	if f.format != "" {
		return parseFormatted(cell, f.format)
	}
	s, ok := ParseSpan(cell)
	switch f.Type {
	case TypeYear:
		ok = ok && len(cell) == len("2006")
	case TypeYearMonth:
		ok = ok && len(cell) == len("2006-01")
	case TypeDate:
		ok = ok && len(cell) == len(time.DateOnly)
	case TypeDateTime:
		ok = ok && isTime(cell)
	}
	if !ok {
		return NoSpan, false
	}
	return s, true
}

var timeLayouts = [...]string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime, "2006-01-02T15:04", "2006-01-02 15:04"}

func isTime(cell []byte) bool {
	for _, layout := range timeLayouts {
		if len(cell) >= len("2006-01-02T15:04") {
			if _, err := time.Parse(layout, string(cell)); err == nil {
				return true
			}
		}
	}
	return false
}

// parseFormatted reads a date by a strptime pattern of %Y, %m, %d, %H, %M, %S
// and other characters that stand for themselves. As in strptime, months and
// the like may have one digit, unless the next thing is a digit field too.
func parseFormatted(cell []byte, format string) (Span, bool) {
	var parts [64]int // by the letter of the field, modulo 64
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			if len(cell) == 0 || cell[0] != format[i] {
				return NoSpan, false
			}
			cell = cell[1:]
			continue
		}
		i++
		width := 2
		if format[i] == 'Y' {
			width = 4
		}
		v, n := 0, 0
		for n < width && n < len(cell) && cell[n]-'0' <= 9 {
			v = v*10 + int(cell[n]-'0')
			n++
		}
		packed := i+1 < len(format) && format[i+1] == '%'
		if n == 0 || n < width && (packed || width == 4) {
			return NoSpan, false
		}
		cell = cell[n:]
		parts[format[i]%64] = v
	}
	year, month, day := parts['Y'%64], parts['m'%64], parts['d'%64]
	if len(cell) > 0 || parts['H'%64] > 23 || parts['M'%64] > 59 || parts['S'%64] > 59 ||
		year == 0 || month < 1 || month > 12 || day < 1 || day > 28 && day > daysIn(year, month) {
		return NoSpan, false
	}
	d := civil(year, month, day)
	return Span{d, d}, true
}
