package extract

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// LoadSchema reads a Table Schema (JSON). It is strict: an unknown key, a
// value of another type, a field without class is a mistake with line and key
// path, and the error (*strictyaml.Errors) has all of them.
func LoadSchema(path string) (*Schema, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	defer f.Close()
	raw, err := io.ReadAll(io.LimitReader(f, strictyaml.MaxSize+1))
	if err != nil {
		return nil, fmt.Errorf("reading the schema: %w", err)
	}
	return parseSchema(path, raw)
}

// parseSchema reads JSON as the YAML that it is, after a look that it is JSON.
func parseSchema(name string, raw []byte) (*Schema, error) {
	var json tape
	if text := strings.TrimPrefix(string(raw), string(byteOrderMark)); len(raw) <= strictyaml.MaxSize {
		if f := json.read([]byte(text)); f.why != "" {
			return nil, fmt.Errorf("%s:%d: %s", name, 1+strings.Count(text[:f.at], "\n"), f.why)
		}
	}
	file := schemaFile{Missing: []string{""}}
	source, _ := strictyaml.Decode(name, raw, &file)
	sum := sha256.Sum256(raw)
	s := &Schema{File: name, SHA256: hex.EncodeToString(sum[:]), Fields: file.Fields, Missing: file.Missing, Delimiter: ',', Quote: '"', Header: true}
	check := schemaCheck{s, source}
	check.dialect(&file.Dialect)
	check.primaryKey(file.PrimaryKey)
	check.columns()
	if err := source.Errors().Err(); err != nil {
		return nil, err
	}
	return s, nil
}

// schemaFile is the shape of a schema file. Nodes without use are known keys
// that change nothing.
type schemaFile struct {
	Schema      strictyaml.Node `yaml:"$schema"`
	Name        strictyaml.Node `yaml:"name"`
	Title       strictyaml.Node `yaml:"title"`
	Description strictyaml.Node `yaml:"description"`

	Fields     []Field         `yaml:"fields,required"`
	Missing    []string        `yaml:"missingValues"`
	PrimaryKey strictyaml.Node `yaml:"primaryKey"`
	Dialect    dialectFile     `yaml:"dialect"`
}

type dialectFile struct {
	Delimiter   strictyaml.Node `yaml:"delimiter"`
	QuoteChar   strictyaml.Node `yaml:"quoteChar"`
	DoubleQuote *bool           `yaml:"doubleQuote"`
	Header      *bool           `yaml:"header"`
}

type fieldFile struct {
	Title       strictyaml.Node `yaml:"title"`
	Description strictyaml.Node `yaml:"description"`
	Example     strictyaml.Node `yaml:"example"`
	RDFType     strictyaml.Node `yaml:"rdfType"`

	Name   string      `yaml:"name,required"`
	Type   FieldType   `yaml:"type" words:"string|integer|number|boolean|date|datetime|year|yearmonth"`
	Format string      `yaml:"format"`
	True   []string    `yaml:"trueValues"`
	False  []string    `yaml:"falseValues"`
	Role   Role        `yaml:"role" words:"none|subject|record|date|encounter|provider|code|status|derived-from"`
	Class  Class       `yaml:"class,required"`
	Rules  constraints `yaml:"constraints"`
}

func (f *Field) UnmarshalNode(n strictyaml.Node) {
	file := fieldFile{
		Type: TypeString, Role: RoleNone,
		True: []string{"true", "True", "TRUE", "1"}, False: []string{"false", "False", "FALSE", "0"},
	}
	n.Decode(&file)
	*f = Field{Name: file.Name, Type: file.Type, Class: file.Class, Role: file.Role, True: file.True, False: file.False, rules: file.Rules}
	if file.Format != "default" {
		f.format = file.Format
	}
	c, dated := &f.rules, f.Type == TypeDate || f.Type == TypeDateTime
	for _, rule := range []struct {
		broken bool
		what   string
		hint   string
	}{
		{f.Name == "", "a column needs a name", ""},
		{f.format != "" && !dated, "format is for columns of type date or datetime", "constrain others by pattern"},
		{!knownFormat(f.format), "format must hold %Y, %m and %d once each", "it knows %H, %M and %S besides"},
		{(c.Minimum != nil || c.Maximum != nil) && f.Type != TypeInteger && f.Type != TypeNumber, "minimum and maximum are for columns of type integer or number", ""},
		{c.MinLength < 0 || c.MaxLength < 0, "a length is not negative", ""},
		{f.Role == RoleDate && !dated && f.Type != TypeYear && f.Type != TypeYearMonth, "the column of role date must have the type date, datetime, year or yearmonth", ""},
	} {
		if rule.broken {
			n.Fail(rule.hint, "%s", rule.what)
		}
	}
}

// knownFormat tells whether parseFormatted can read a pattern; "" is none.
func knownFormat(format string) bool {
	rest := format
	for _, known := range []string{"%Y", "%m", "%d", "%H", "%M", "%S"} {
		if n := strings.Count(rest, known); n > 1 || n == 0 && format != "" && strings.Contains("%Y%m%d", known) {
			return false
		}
		rest = strings.ReplaceAll(rest, known, "")
	}
	return !strings.Contains(rest, "%")
}

func oneOf(n strictyaml.Node, known []string) string {
	if word := n.Text(); slices.Contains(known, word) {
		return word
	}
	hint := fmt.Sprintf("known are %q", known)
	if near := strictyaml.Nearest(n.Text(), known); len(near) > 1 {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	n.Fail(hint, "%q is no %s", n.Text(), n.Key())
	return ""
}

// UnmarshalNode reads the name of a class; to have none cannot be declared.
func (c *Class) UnmarshalNode(n strictyaml.Node) {
	*c, _ = ParseClass(oneOf(n, classNames[1:]))
}

type pattern struct{ *regexp.Regexp }

func (p *pattern) UnmarshalNode(n strictyaml.Node) {
	var err error
	if p.Regexp, err = regexp.Compile(`\A(?:` + n.Text() + `)\z`); err != nil {
		n.Fail("", "is no pattern: %v", err)
	}
}

type schemaCheck struct {
	*Schema
	source *strictyaml.Source
}

func (c *schemaCheck) wrong(path, hint, format string, args ...any) {
	c.source.Errors().Add(c.source.At(path), path, fmt.Sprintf(format, args...), hint)
}

func (c *schemaCheck) dialect(d *dialectFile) {
	if c.source.Has("dialect.delimiter") {
		c.Delimiter = (oneOf(d.Delimiter, []string{",", "\t", "|", ";"}) + ",")[0]
	}
	switch {
	case d.QuoteChar.IsEmpty() && c.source.Has("dialect.quoteChar"):
		c.Quote = 0
	case !d.QuoteChar.IsEmpty():
		c.Quote = (oneOf(d.QuoteChar, []string{`"`, "'"}) + `"`)[0]
	}
	if d.DoubleQuote != nil && !*d.DoubleQuote {
		c.wrong("dialect.doubleQuote", "remove it", "must be true: a quote in a quoted cell is doubled (RFC 4180)")
	}
	if d.Header != nil {
		c.Header = *d.Header
	}
}

// primaryKey makes the named column the id of the row.
func (c *schemaCheck) primaryKey(n strictyaml.Node) {
	if n.IsEmpty() {
		return
	}
	key := n.Text()
	if items := n.Items(); len(items) == 1 {
		key = items[0].Text()
	} else if n.IsList() {
		n.Fail("give the rows an id of their own", "must name one column")
		return
	}
	switch i := c.Column(key); {
	case i < 0:
		n.Fail(strictyaml.DidYouMean(key, c.Names()), "names no column")
	case c.Fields[i].Role != RoleNone && c.Fields[i].Role != RoleRecord:
		n.Fail("", "names a column of role %s; one column has one role", c.Fields[i].Role)
	default:
		c.Fields[i].Role = RoleRecord
	}
}

func (c *schemaCheck) columns() {
	if len(c.Fields) == 0 && c.source.Has("fields") {
		c.wrong("fields", "", "must name the columns")
	}
	roles := map[Role]int{}
	for i := range c.Fields {
		f := &c.Fields[i]
		if f.Name != "" && c.Column(f.Name) < i {
			c.wrong("fields", "", "two columns have the name %q", f.Name)
		}
		if f.rules.Unique && f.Role != RoleRecord {
			c.wrong(fmt.Sprintf("fields[%d].constraints.unique", i), "remove it", "is checked only for the column of role record")
		}
		roles[f.Role]++
	}
	for _, role := range []Role{RoleRecord, RoleDate, RoleEncounter, RoleStatus} {
		if roles[role] > 1 {
			c.wrong("fields", "", "only one column may have the role %s", role)
		}
	}
	c.concernsPatients = roles[RoleSubject] > 0
}
