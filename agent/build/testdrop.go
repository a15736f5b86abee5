package build

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// TestDrop seals a drop of the shape of the job's, with rows about nobody: their
// values are made from the policy and the layout alone, and no file or list is
// read. The gate judges it like every drop. The job has no files, tables or
// memory of the clinic.
func TestDrop(ctx context.Context, job *Job) (sealed *transfer.Sealed, err error) {
	job.Tables = consent.NewTables()
	job.Files = []extract.File{{Name: "made up"}}
	job.LookUps = map[string]*Table{}
	r, err := New(ctx, job)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }()
	m := &maker{run: r}
	if err := m.invent(); err != nil {
		return nil, err
	}
	for at, part := range r.parts {
		for range testRows {
			if err := m.row(part); err != nil {
				return nil, fmt.Errorf("part %d of the test drop: %w", at+1, err)
			}
		}
	}
	if err := r.seal(ctx); err != nil {
		return nil, err
	}
	return r.Sealed, nil
}

// testRows is how many rows each part of a test drop has, of as many people.
const testRows = 3

// maker makes rows up.
type maker struct {
	run    *Run
	people []consent.Subject
	codes  []string   // of the people
	own    [][]string // what the gate knows as theirs
	n      int        // rows so far
}

// invent makes people, each with all that a release can name of somebody.
func (m *maker) invent() error {
	for n := range testRows {
		letter := string(rune('A' + n))
		own := []struct {
			kind gate.Kind
			text string
		}{
			{gate.RecordNumber, "TESTRECORD" + letter}, {gate.MemberNumber, "TESTMEMBER" + letter}, {gate.Name, "Testperson" + letter}, {gate.StreetAddress, "Teststreet " + letter},
			{gate.City, "Testtown"}, {gate.Postcode, "00000"}, {gate.Phone, "000-555-010" + strconv.Itoa(n)}, {gate.Email, "test-" + letter + "@test.example"},
			{gate.SSN, "000-00-000" + strconv.Itoa(n)}, {gate.Other, "TESTOTHER" + letter},
		}
		s := m.run.index.people.Intern([]byte(own[0].text))
		m.people = append(m.people, s)
		m.codes = append(m.codes, m.run.crosswalk.stream.Code(deid.CodeLen))
		var texts []string
		for _, o := range own {
			if err := m.run.index.roster.Add(uint32(s), o.kind, []byte(o.text)); err != nil {
				return err
			}
			texts = append(texts, o.text)
		}
		if err := m.run.index.roster.Add(uint32(s), gate.BirthDate, []byte(testBirth.Format(time.DateOnly))); err != nil {
			return err
		}
		m.own = append(m.own, texts)
		m.run.people.add(s)
	}
	m.run.index.roster.Freeze()
	return nil
}

var testBirth = time.Date(1980, 1, 2, 0, 0, 0, 0, time.UTC)

// row makes one row of a part.
func (m *maker) row(part *partSpool) error {
	r, release := m.run, m.run.releaseOf(part.dataset)
	who := m.n % testRows
	m.n++
	if part.action == transfer.Void {
		return part.add(&row{subject: m.people[who], bytes: []byte(m.key() + "\n")})
	}
	spec, err := r.gateSpec(release)
	if err != nil {
		return err
	}
	guard, err := gate.New(spec, r.index.roster)
	if err != nil {
		return err
	}
	others := m.texts(who)
	choose := func(g gate.Grammar, first []string, not func(string) bool) string {
		text, _ := guard.Choose(g, m.n, slices.DeleteFunc(slices.Concat(first, others), not), []uint32{uint32(m.people[who])})
		return text
	}
	made := &row{subject: m.people[who]}
	switch {
	case r.Policy.Layout != nil:
		made.bytes, err = m.laid(release, choose)
	case spec.Format == gate.CSV:
		made.bytes = m.cells(spec.Positions, choose)
	default:
		made.bytes, err = m.resource(release, choose)
	}
	if err == nil && part.part2 && r.scopes != nil {
		made.rests, err = r.scopes.number("ground: none, this row is made up\npaper: none\n")
	}
	if err != nil {
		return failure.New(failure.PolicyRefused, err, "", "dataset %s: no row can be made up", part.dataset)
	}
	return part.add(made)
}

// texts are what a cell may hold, the first that fits: each says that it is a
// test where its position lets it.
func (m *maker) texts(who int) []string {
	n, day := strconv.Itoa(m.n), time.Unix(int64(m.run.AsOf)*86400, 0).UTC()
	texts := append([]string{"TEST-" + n, m.codes[who]}, m.own[who]...)
	texts = append(texts, "T"+n, n, "0", fmt.Sprintf("%0*s", deid.OrdinalLen, n), "true", "MA", "000", "South", "Pacific", "1999000015")
	for top := 40; top < 90; top += 5 {
		texts = append(texts, strconv.Itoa(top), strconv.Itoa(top)+"+")
		for _, width := range []int{5, 10, 15, 20, 25, 30} {
			texts = append(texts, fmt.Sprintf("%d-%d", top, top+width-1))
		}
	}
	texts = append(texts, "90+")
	for _, date := range []time.Time{day, testBirth} {
		for _, form := range []string{time.DateOnly, time.RFC3339, "20060102", "01/02/2006", "1/2/2006", "2006"} {
			texts = append(texts, date.Format(form))
		}
	}
	return texts
}

// key is a new key for a row.
func (m *maker) key() string { return m.run.rowKeys.stream.Code(deid.CodeLen) }

// chooser gives a value that fits a position: one of the first, if it can, and
// none of those ruled out.
type chooser func(g gate.Grammar, first []string, not func(string) bool) string

func none(string) bool { return false }

// cells make a line of our own CSV.
func (m *maker) cells(positions []gate.Position, choose chooser) (line []byte) {
	for i, p := range positions {
		text := choose(p.Grammar, nil, none)
		if m.run.Policy.Output.RowKey && i == len(positions)-1 {
			text = m.key()
		}
		if i > 0 {
			line = append(line, ',')
		}
		line = appendCell(line, text)
	}
	return append(line, '\n')
}

// laid makes a line in the recipient's layout.
func (m *maker) laid(release *policies.Release, choose chooser) ([]byte, error) {
	l := m.run.Policy.Layout
	file := l.File(release.Dataset)
	texts, codes := make([]string, len(file.Columns)), map[int][]string{} // that other columns are about
	for i := range file.Columns {
		if c := &file.Columns[i]; c.When != nil {
			when := whenOf(l, file, c)
			codes[when.Column] = append(codes[when.Column], when.Is)
		}
	}
	for i := range file.Columns {
		c := &file.Columns[i]
		first := codes[i]
		if len(first) > 0 {
			first = first[m.n%len(first):]
		}
		if c.Leaf != nil {
			first = append(slices.Clone(first), m.words(release.Dataset, c.Leaf)...)
		}
		g, err := m.run.columnGrammar(release, c, m.run.Schemas[release.Dataset])
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", c.Name, err)
		}
		texts[i] = choose(g, first, func(text string) bool {
			return c.Width > 0 && len(text) > c.Width || c.Zeros && strings.Trim(text, "0123456789") != ""
		})
		if c.RowKey {
			texts[i] = m.key()
		}
	}
	for i := range file.Columns {
		if c := &file.Columns[i]; c.When != nil {
			if when := whenOf(l, file, c); when.Column >= 0 && texts[when.Column] != when.Is {
				texts[i] = when.Else
			}
		}
	}
	return l.Line(nil, file.Columns, texts)
}

// resource makes a FHIR resource of the leaves that are released.
func (m *maker) resource(release *policies.Release, choose chooser) ([]byte, error) {
	root := &element{}
	for i := range release.Fields {
		f := &release.Fields[i]
		for _, leaf := range f.Leaves {
			if m.run.writtenByEngine(release, f, &leaf) {
				continue
			}
			g, err := m.run.leafGrammar(release, f, &leaf)
			if err != nil {
				return nil, fmt.Errorf("field %s: %w", f.Name, err)
			}
			if text := choose(g, m.words(release.Dataset, &leaf), none); text != "" {
				root.put(leaf.Path, text)
			}
		}
	}
	var b bytes.Buffer
	fmt.Fprintf(&b, `{"resourceType":%q`, release.Dataset)
	root.members(&b, release.Dataset, m.n, ",")
	b.WriteString("}\n")
	return b.Bytes(), nil
}

// words are what a leaf of FHIR may hold before others: a reference of the type
// that belongs there, and codes of the bindings that readers hold resources to.
func (m *maker) words(dataset string, leaf *policies.Leaf) (list []string) {
	if !isLink(leaf) {
		return requiredCodes[leaf.Path[len(leaf.Path)-1]]
	}
	target, who := "Organization", (m.n-1)%testRows
	if of := elementAt(dataset, leaf.Path[:len(leaf.Path)-1]); of != nil && len(of.Targets) > 0 && of.Targets[0] != "Resource" {
		target = of.Targets[0]
	}
	if isSubject(dataset, leaf.Path) {
		target = "Patient"
	}
	n := strconv.Itoa(m.n)
	for _, id := range []string{"TEST-" + n, m.own[who][0], m.codes[who], fmt.Sprintf("%0*s", deid.OrdinalLen, n)} {
		list = append(list, target+"/"+id)
	}
	return list
}

// requiredCodes are codes of value sets that FHIR R4 binds elements of these names
// to, some to one and some to another: the first that the policy lets leave.
var requiredCodes = map[string][]string{
	"gender": {"unknown"}, "use": {"temp"}, "status": {"final", "finished", "completed", "active"}, "language": {"en"},
}

// element is a member of a resource that is made up.
type element struct {
	step  string
	text  string // of a leaf
	under []*element
}

func (e *element) put(path []string, text string) {
	if len(path) == 0 {
		e.text = text
		return
	}
	at := slices.IndexFunc(e.under, func(c *element) bool { return c.step == path[0] })
	if at < 0 {
		at, e.under = len(e.under), append(e.under, &element{step: path[0]})
	}
	e.under[at].put(path[1:], text)
}

// members writes what is in an element of a FHIR type: extensions in their array,
// and of a choice of types one, each in its turn.
func (e *element) members(b *bytes.Buffer, typ string, n int, before string) {
	def, extensions := extract.TypeOf(typ), []*element{}
	choices := map[string][]string{}
	for _, c := range e.under {
		if base := choiceOf(def, c.step); base != "" {
			choices[base] = append(choices[base], c.step)
		}
	}
	for _, c := range e.under {
		if strings.HasPrefix(c.step, "extension:") {
			extensions = append(extensions, c)
			continue
		}
		if all := choices[choiceOf(def, c.step)]; len(all) > 0 && all[n%len(all)] != c.step {
			continue
		}
		of := def.Element(c.step)
		fmt.Fprintf(b, "%s%q:", before, c.step)
		if before = ","; of.Many {
			b.WriteByte('[')
		}
		c.value(b, of, n)
		if of.Many {
			b.WriteByte(']')
		}
	}
	for i, c := range extensions {
		if i == 0 {
			b.WriteString(before + `"extension":[`)
		} else {
			b.WriteByte(',')
		}
		fmt.Fprintf(b, `{"url":%q`, strings.TrimPrefix(c.step, "extension:"))
		c.members(b, "Extension", n, ",")
		b.WriteByte('}')
		if i == len(extensions)-1 {
			b.WriteByte(']')
		}
	}
}

func (e *element) value(b *bytes.Buffer, of *extract.Element, n int) {
	if len(e.under) > 0 {
		b.WriteByte('{')
		e.members(b, of.Type, n, "")
		b.WriteByte('}')
		return
	}
	switch of.Type {
	case "boolean", "decimal", "integer", "positiveInt", "unsignedInt":
		if json.Valid([]byte(e.text)) {
			b.WriteString(e.text)
			return
		}
	}
	text, _ := json.Marshal(e.text) // a string always can be
	b.Write(text)
}

// choiceOf is the name of the choice that an element is one type of, such as
// value of valueQuantity; "" when it is none.
func choiceOf(def *extract.TypeDef, step string) string {
	of := def.Element(step)
	if of == nil || of.Type == "" {
		return ""
	}
	base, is := strings.CutSuffix(step, strings.ToUpper(of.Type[:1])+of.Type[1:])
	if !is {
		return ""
	}
	return base
}
