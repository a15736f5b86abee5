package deid

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// planted fills a resource with a marked value in every element of its type,
// in members that FHIR does not know, in extensions, in primitive extensions
// and in what is contained, and remembers where each value stands.
type planted struct {
	json  []byte
	where map[string]string // marker → path, "" where nothing may ever leave
	n     int

	compared map[string]bool // paths with a comparator
}

func (p *planted) mark(path string) string {
	p.n++
	marker := fmt.Sprintf("Q%dZ", 100000+p.n)
	p.where[marker] = path
	return marker
}

func (p *planted) text(s string, args ...any) { p.json = fmt.Appendf(p.json, s, args...) }

func (p *planted) leaf(primitive, path string, class extract.Class) {
	switch kindsOf(primitive) {
	case 1 << extract.Numeral:
		p.n++
		marker := fmt.Sprint(7700000 + p.n)
		if primitive == "decimal" { // an age, perhaps
			marker = fmt.Sprintf("7.%06d", p.n)
		}
		p.where[marker] = path
		p.text("%s", marker)
	case 1 << extract.String:
		at := time.Date(1990, 1, 1, 0, 0, 0, p.n*1000, time.UTC)
		if layout := map[string]string{"date": time.DateOnly, "dateTime": time.RFC3339Nano, "instant": time.RFC3339Nano, "time": "15:04:05.000000"}[primitive]; layout != "" {
			if p.n++; primitive == "date" {
				at = at.AddDate(0, 0, p.n)
			}
			p.where[at.Format(layout)] = path
			p.text(`"%s"`, at.Format(layout))
		} else if strings.HasSuffix(path, ".comparator") {
			p.text(`"<"`) // any other would be none, so it bears no mark
			p.compared[strings.TrimSuffix(path, ".comparator")] = true
		} else if class == extract.State { // the same
			p.text(`"MA"`)
		} else if class == extract.WebAddress && strings.HasSuffix(path, ".type") {
			p.text(`"Practitioner"`)
		} else if class == extract.WebAddress || class == extract.CodeSystem {
			p.text(`"http://ehr.example/%s"`, p.mark(path))
		} else if strings.HasSuffix(path, ".reference") {
			p.text(`"Practitioner/%s"`, p.mark(path))
		} else {
			p.text(`"%s"`, p.mark(path))
		}
	default:
		p.text("true")
	}
}

func (p *planted) object(typ, path string, depth int) {
	t := extract.TypeOf(typ)
	p.text(`{"nickname":"%s"`, p.mark(""))
	if t.Resource {
		p.text(`,"resourceType":"%s"`, typ)
	}
	for _, e := range t.Elements {
		primitive := extract.TypeOf(e.Type) == nil && e.Type != "Resource"
		switch {
		case e.Name == "modifierExtension" || !primitive && depth == 0 && e.Name != "extension":
			continue
		case e.Name == "extension":
			p.text(`,"extension":[{"url":"http://x/%s","valueString":"%s","extension":[{"url":"y","valueCode":"%s"}]}]`, p.mark(""), p.mark(""), p.mark(""))
			continue
		case primitive:
			p.text(`,"_%s":{"id":"%s","extension":[{"url":"z","valueString":"%s"}]}`, e.Name, p.mark(""), p.mark(""))
		}
		p.text(`,"%s":`, e.Name)
		if e.Many {
			p.text("[")
		}
		switch {
		case e.Type == "Resource":
			p.text(`{"resourceType":"Patient","id":"%s","status":"%s","name":[{"family":"%s"}]}`, p.mark(""), p.mark(""), p.mark(""))
		case primitive:
			p.leaf(e.Type, path+"."+e.Name, e.Class)
		default:
			p.object(e.Type, path+"."+e.Name, depth-1)
		}
		if e.Many {
			p.text("]")
		}
	}
	p.text("}")
}

// leavesBelow lists the leaves of a type that a plan could name.
func leavesBelow(typ string, path []string, depth int, to *[]policies.Leaf) {
	for _, e := range extract.TypeOf(typ).Elements {
		here := append(path[:len(path):len(path)], e.Name)
		switch {
		case e.Name == "url" || e.Name == "extension" || e.Type == "Resource" || e.Name == "modifierExtension":
		case e.Class != extract.Unclassed:
			*to = append(*to, policies.Leaf{Path: here, Class: e.Class})
		case depth > 0 && extract.TypeOf(e.Type) != nil:
			leavesBelow(e.Type, here, depth-1, to)
		}
	}
}

// For every resource type: of all values, exactly those that the plan names
// leave.
func TestOnlyNamedLeavesLeave(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	for _, typ := range extract.ResourceTypes() {
		p := planted{where: map[string]string{}, compared: map[string]bool{}}
		p.object(typ, typ, 3)
		var all, some []policies.Leaf
		leavesBelow(typ, nil, 3, &all)
		named := map[string]bool{}
		for _, l := range all {
			if random.IntN(3) == 0 {
				some = append(some, l)
				named[typ+"."+strings.Join(l.Path, ".")] = true
			}
		}
		if len(some) == 0 {
			continue
		}
		policy := &policies.Policy{Standard: policies.Identified, Output: policies.Output{Layout: "ndjson"},
			Release: []policies.Release{{Dataset: typ, Fields: []policies.Field{{Name: "all", Do: policies.Keep, Leaves: some}}}}}
		var out Output
		rec := recordOf(p.json)
		if rec == nil {
			t.Fatalf("%s: the planted resource is no JSON", typ)
		}
		if err := compile(t, policy, typ).Engine().Apply(rec, nil, &out); err != nil {
			t.Fatal(typ, err)
		}
		checkJSON(t, out.Bytes)
		for marker, path := range p.where {
			want := named[path]
			if quantity, is := strings.CutSuffix(path, ".value"); is && p.compared[quantity] {
				want = want && named[quantity+".comparator"] // without it, the number would be another
			}
			if left := bytes.Contains(out.Bytes, []byte(marker)); left != want {
				t.Errorf("%s: value at %q: left %v, named %v", typ, path, left, named[path])
			}
		}
	}
}

// checkJSON holds a line against another implementation of JSON, and against
// FHIR's rule that nothing is empty (FHIR R4 §2.6.2).
func checkJSON(t testing.TB, lines []byte) {
	t.Helper()
	for line := range bytes.Lines(lines) {
		if !jsontext.Value(line).IsValid() {
			t.Fatalf("no JSON: %s", line)
		}
		if !bytes.HasPrefix(line, []byte(`{"resourceType":"`)) || bytes.Contains(stripStrings(line), []byte("{}")) || bytes.Contains(stripStrings(line), []byte("[]")) {
			t.Fatalf("empty or without type: %s", line)
		}
	}
}

func stripStrings(line []byte) (b []byte) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	for {
		tok, err := d.ReadToken()
		if err != nil {
			return b
		}
		b = append(b, byte(tok.Kind()))
	}
}

// pathsOf lists the paths of the leaves of a line.
func pathsOf(line []byte) (paths []string) {
	d := jsontext.NewDecoder(bytes.NewReader(line))
	for {
		tok, err := d.ReadToken()
		if err == io.EOF {
			return paths
		}
		kind, length := d.StackIndex(d.StackDepth())
		if k := tok.Kind(); k == '{' || k == '[' || k == '}' || k == ']' || kind == '{' && length%2 == 1 {
			continue
		}
		var path []string
		for step := range d.StackPointer().Tokens() {
			if step != "" && (step[0] < '0' || step[0] > '9') {
				path = append(path, step)
			}
		}
		paths = append(paths, strings.Join(path, "."))
	}
}

// resourceFrom makes a resource out of arbitrary bytes: each byte chooses what
// comes next from a vocabulary that knows the engine's turns.
func resourceFrom(choices []byte) []byte {
	words := strings.Fields("status code coding system subject reference performer hasMember valueQuantity value effectiveDateTime " +
		"extension url contained text _status component comparator id partOf basedOn valueInteger encounter nickname modifierExtension display")
	values := []string{`"final"`, `"2025-03-02"`, `12.5`, `true`, `null`, `"Patient/p1"`, `"Observation/o\u0032"`, `"urn:uuid:p1"`, `"#x"`, `"a\"b\\"`, `""`}
	next := func() int {
		if len(choices) == 0 {
			return 0
		}
		c := choices[0]
		choices = choices[1:]
		return int(c)
	}
	var value func(depth int) string
	value = func(depth int) string {
		kind := next()
		if depth == 0 || kind%4 == 0 {
			return values[kind/4%len(values)]
		}
		var parts []string
		met := map[string]bool{}
		for range next() % 5 {
			if kind%4 == 1 {
				parts = append(parts, value(depth-1))
			} else if word := words[next()%len(words)]; !met[word] {
				met[word] = true
				parts = append(parts, `"`+word+`" : `+value(depth-1))
			}
		}
		if kind%4 == 1 {
			return "[" + strings.Join(parts, " , ") + "]"
		}
		return "{" + strings.Join(parts, ",") + "}"
	}
	b := `{"resourceType":"Observation"`
	for i, met := 0, map[string]bool{}; i < 8 && len(choices) > 0; i++ {
		if word := words[next()%len(words)]; !met[word] {
			met[word] = true
			b += `,"` + word + `":` + value(4)
		}
	}
	return []byte(b + "}")
}

func FuzzApply(f *testing.F) {
	lines := []string{"keep status", "keep code coding system", "keep code coding code", "keep subject reference", "keep performer reference",
		"keep hasMember reference", "keep encounter reference", "keep valueQuantity value", "year effectiveDateTime", "keep component valueInteger",
		"ordinal id", "ordinal partOf reference", "ordinal basedOn reference", "round component valueQuantity value"}
	policy := fhirPolicy(policies.Identified, "Observation", lines...)
	for i := range policy.Release[0].Fields {
		policy.Release[0].Fields[i].Days = 5
	}
	plan := compile(f, policy, "Observation")
	named := map[string]bool{"resourceType": true}
	for _, l := range lines {
		named[strings.Join(strings.Fields(l)[1:], ".")] = true
	}
	for seed := range byte(40) {
		random := rand.New(rand.NewPCG(uint64(seed), 0))
		b := make([]byte, 200)
		for i := range b {
			b[i] = byte(random.Uint32())
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, choices []byte) {
		engine := plan.Engine()
		out := Output{Bytes: []byte("x"), Holes: make([]Hole, 1)}
		rec := recordOf(resourceFrom(choices))
		if err := engine.Apply(rec, nil, &out); err != nil {
			if string(out.Bytes) != "x" || len(out.Holes) != 1 {
				t.Fatal("a rejected record left something")
			}
			for _, c := range engine.Counts() {
				if c.In != 0 || c.Out != 0 {
					t.Fatalf("a rejected record was counted: %+v", c)
				}
			}
			return
		}
		checkLine(t, out.Bytes[1:], named)
		var again Output
		if err := engine.Apply(rec, nil, &again); err != nil || !bytes.Equal(again.Bytes, out.Bytes[1:]) {
			t.Fatal("the same record gave another line")
		}
		cut := 0
		for i := len(again.Holes) - 1; i >= 0; i-- {
			if again.Holes[i].Kind != Reference { // an ordinal
				continue
			}
			again.Bytes = CutReference(again.Bytes, again.Holes[i])
			checkLine(t, again.Bytes, named)
			cut++
		}
		member := []byte(`"reference":`)
		if before, after := bytes.Count(out.Bytes, member), bytes.Count(again.Bytes, member); before-after != cut {
			t.Fatalf("%d holes were cut, %d references went", cut, before-after)
		}
	})
}

func checkLine(t *testing.T, line []byte, named map[string]bool) {
	t.Helper()
	checkJSON(t, line)
	for _, path := range pathsOf(line) {
		if !named[path] {
			t.Fatalf("%s is not named", path)
		}
	}
}
