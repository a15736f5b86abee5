package build

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// tameValues are such values of each class as may leave where the class may.
var tameValues = map[extract.Class][]string{
	extract.Name: {"Quillfeather", "Ötzi-Zwirn", "J", "Zyx Wvu"}, extract.Geography: {"12 Quarry Lane", "Flat 3"}, extract.Town: {"Harborview", "Köniz"}, extract.Postcode: {"02139", "99950", "02139-1234"},
	extract.Date: {"2025-03-02", "2025-11-30", "2026-02-28", "2025-03-02T08:15:00Z", "2025-03-02T23:59:59.123-05:00", "2025-03", "2025"}, extract.BirthDate: {"1980-02-03", "1930-01-01", "2019-05-05", "1980"}, extract.DeathDate: {"2026-01-31", "2025-06-01"},
	extract.AgeYears: {"46", "0", "89", "90", "101"}, extract.Phone: {"413-555-0134"}, extract.Fax: {"413-555-0135"}, extract.Email: {"quill@example.org"}, extract.SSN: {"078-05-1120"},
	extract.RecordNumber: {"CV-104233", "CV-104234"}, extract.MemberNumber: {"MBR-0001"}, extract.OtherUnique: {"urn:x-77", "SN-9"},
	extract.SubjectKey: {"p1", "p2", "p3", "p4"}, extract.RecordKey: {"o1", "o2", "e1", "g1", "o9"}, extract.ProviderKey: {"1999000023", "1234567893"},
	extract.FreeText: {"calm", "a quiet word", ""}, extract.State: {"MA", "Vermont", "US"}, extract.Code: {"final", "amended", "44261-6", "55758-7", "active", "AMB", "completed"},
	extract.CodeSystem: {"http://loinc.org", "http://snomed.info/sct", "http://terminology.hl7.org/CodeSystem/v3-ActCode"}, extract.WebAddress: {"http://loinc.org"},
	extract.Number: {"17", "0", "27", "-3.5", "12.50", "1e2", "9999"}, extract.Boolean: {"true", "false"}, extract.Sex: {"female", "male", "unknown"}, extract.Race: {"2106-3", "White", "2028-9"}, extract.Ethnicity: {"2135-2"}, extract.Language: {"en", "es"}, extract.Unit: {"mg", "{score}"},
	extract.Link: {
		"Patient/p1", "Patient/p1", "Patient/p2", "Encounter/e1", "Observation/o1", "Organization/g1", "https://ehr.example/fhir/Patient/p1", "https://ehr.example/fhir/Patient/p1/_history/3", "Patient/p1/_history/2", "urn:uuid:u1", "urn:uuid:u2",
		"#c1", "Patient?identifier=x|1", "Group/g", "patient/p1", "Patient/", "/p1", "http://", "Encounter/e1?x=1", "", "Patient/p1#c1", "Device/p1",
	},
}

// wildValues are what nobody should send, and what is no value at all.
var wildValues = []string{
	"", " ", "413-555-0134", "078-05-1120", "Quillfeather", "QUILLFEATHER, Zyx", "p1", "p2", "CV-104233", "MBR-0002", "1980-02-03", "03/02/1980", "2025-03-02T08:15", "2025-02-30", "0000-00-00", "9999-12-31", "-1-01-01", "20250302", "12345678901234567890", "1e400", "-0", "00017", "0x1F", "NaN", "1,5", "+3", "3.", ".5",
	"a,b", "a|b;c\td", `say "x"`, `"`, `""`, "a\nb", "a\r\nb", "\r", "\x00", "\x7f", "a\u0085b", "\u2028", "\ufeff", "\ufeffx", "é", "e\u0301", "漢字", "😀", "\u202Ex", "￿", "<div>x</div>", `\u0041`, `\`, "=1+1", "@x", "'",
	"https://x.example/p1?q=1", "quill@example.org", "10.0.0.1", "Patient/p2", "UXVpbGxmZWF0aGVy", "Observation/o:1", "Observation/o_1", "44261-6 ", "FINAL", "null", "true", "?", "????????????????????", strings.Repeat("a", 65), strings.Repeat("漢", 40), strings.Repeat("9", 130), "Observation/" + strings.Repeat("i", 65), "Patient/" + strings.Repeat("i", 129), strings.Repeat("x y ", 5000),
}

// making is an extract on its way.
type making struct {
	c    *choices
	k    *clinic
	tame bool
	b    []byte
}

// extract is a file of what the policy releases, and how many records it has; -1
// when nobody can tell.
func (g *making) extract() (*extract.FileRule, int) {
	if g.k.schemas[g.k.policy.Release[0].Dataset] != nil {
		return (&rows{g}).extract()
	}
	return (&resources{making: g}).extract()
}

// resources makes FHIR resources.
type resources struct {
	*making
	release *policies.Release // of the resource at hand; nil when the policy has none
	class   extract.Class     // within a known extension, of its values
}

func (g *resources) text(format string, args ...any) { g.b = fmt.Appendf(g.b, format, args...) }

// extract is a file of resources, one a line or in a Bundle.
func (g *resources) extract() (*extract.FileRule, int) {
	n := 1 + g.c.n(7)
	if g.c.n(3) == 2 {
		g.text(`{"resourceType":"Bundle","type":"collection","entry":[`)
		for i := range n {
			if i > 0 {
				g.text(",")
			}
			g.text("{")
			if g.c.n(3) > 0 {
				g.text(`"fullUrl":%q,`, pick(g.c, []string{"urn:uuid:u1", "urn:uuid:u2", "https://ehr.example/fhir/Patient/p1", "https://ehr.example/fhir/Encounter/e1", "x", "urn:uuid:p1"}))
			}
			g.text(`"resource":`)
			g.resource(3)
			g.text("}")
		}
		g.text("]}")
		if g.corrupt() {
			g.tame = false
		}
		return &extract.FileRule{Format: extract.FHIRJSON}, -1
	}
	for range n {
		g.resource(3)
		g.corrupt()
		g.text("%s", pick(g.c, []string{"\n", "\n", "\r\n", "\n\n", " \n"}))
	}
	records := 0
	for line := range bytes.SplitSeq(g.b, []byte("\n")) {
		if len(bytes.Trim(line, " \t\r")) > 0 {
			records++
		}
	}
	if bytes.HasPrefix(g.b, []byte("\xef\xbb\xbf")) {
		records = -1
	}
	return &extract.FileRule{Format: extract.FHIRNDJSON}, records
}

// corrupt sometimes changes one byte.
func (g *resources) corrupt() bool {
	if !g.c.rarely(24) {
		return false
	}
	g.b[g.c.n(len(g.b))] = byte(g.c.n(256))
	return true
}

func (g *resources) resource(depth int) {
	types := extract.ResourceTypes()
	typ := types[g.c.n(len(types))]
	if !g.c.rarely(6) && depth == 3 {
		typ = g.k.policy.Release[g.c.n(len(g.k.policy.Release))].Dataset
	}
	if g.k.policy.Layout != nil && depth == 3 && g.c.n(4) == 3 { // ages are reckoned from it
		typ = "Patient"
	}
	outer, class := g.release, g.class
	g.release, g.class = nil, extract.Unclassed
	var paths [][]string
	for i := range g.k.policy.Release {
		if r := &g.k.policy.Release[i]; r.Dataset == typ {
			g.release = r
			for _, f := range r.Fields {
				for _, leaf := range f.Leaves {
					paths = append(paths, leaf.Path)
				}
			}
			for _, only := range r.Only {
				paths = append(paths, strings.Split(only.Path, "."))
			}
		}
	}
	g.b = append(g.b, '{')
	first := len(g.b)
	if !g.c.rarely(12) {
		g.name("resourceType", first)
		g.text("%q", typ)
	}
	for _, e := range append([]string{"id"}, g.whom(typ)...) {
		if !slices.ContainsFunc(paths, func(p []string) bool { return p[0] == e }) && !g.c.rarely(12) {
			paths = append(paths, []string{e})
		}
	}
	if g.c.n(3) == 2 && !slices.ContainsFunc(paths, func(p []string) bool { return p[0] == "meta" }) {
		paths = append(paths, []string{"meta", "security", "code"})
	}
	g.members(extract.TypeOf(typ), typ, paths, first, depth)
	g.b = append(g.b, '}')
	g.release, g.class = outer, class
}

// whom are the elements by which a resource is a patient's, and its dates.
func (g *resources) whom(typ string) []string {
	var list []string
	for _, path := range extract.Compartment(typ) {
		if path == "subject" || path == "patient" || path == "beneficiary" {
			list = append(list, path)
		}
	}
	for _, e := range extract.TypeOf(typ).Elements {
		if e.Class == extract.Date || e.Class == extract.BirthDate || e.Type == "Period" {
			return append(list, e.Name)
		}
	}
	return list
}

func (g *resources) name(name string, first int) {
	if len(g.b) > first {
		g.b = append(g.b, ',')
	}
	if g.c.rarely(250) && name != "" {
		name = fmt.Sprintf(`\u%04x`, name[0]) + name[1:]
	}
	g.text(`%s"%s"%s:`, g.space(), name, g.space())
}

func (g *resources) space() string {
	if g.c.rarely(20) {
		return pick(g.c, []string{" ", "\t", "  "})
	}
	return ""
}

// members writes the members on the paths, most of them, and others.
func (g *resources) members(typ *extract.TypeDef, path string, paths [][]string, first, depth int) {
	done := map[string]bool{}
	for _, p := range paths {
		step := p[0]
		if strings.HasPrefix(step, "extension:") {
			step = "extension"
		}
		if done[step] || g.c.rarely(8) {
			continue
		}
		done[step] = true
		g.member(typ, path, step, below(paths, p[0]), paths, first, depth)
	}
	for range g.c.n(4) {
		e := pick(g.c, typ.Elements)
		switch g.c.n(12) {
		case 0, 1, 2, 3:
			if !done[e.Name] {
				done[e.Name] = true
				g.member(typ, path, e.Name, nil, nil, first, depth)
			}
		case 4:
			g.member(typ, path, pick(g.c, []string{"nickname", "resourcetype", "", "extension", "modifierExtension", "contained", "text", "url", e.Name}), nil, nil, first, depth)
		case 5:
			g.name("_"+e.Name, first)
			g.primitiveExtension(depth)
		case 6:
			g.name(pick(g.c, []string{"nickname", "Status", "status ", "statu", "naïve", "a.b"})+fmt.Sprint(len(g.b)), first)
			g.any(2)
		case 7:
			if !done["extension"] {
				done["extension"] = true
				g.name("extension", first)
				g.extensions(nil, depth)
			}
		}
	}
}

// below are the rests of the paths that begin with a step.
func below(paths [][]string, step string) (rest [][]string) {
	for _, p := range paths {
		if p[0] == step && len(p) > 1 {
			rest = append(rest, p[1:])
		}
	}
	return rest
}

func (g *resources) member(typ *extract.TypeDef, path, step string, rest, all [][]string, first, depth int) {
	g.name(step, first)
	e := typ.Element(step)
	switch {
	case step == "extension" || step == "modifierExtension":
		g.extensions(all, depth)
	case g.c.rarely(30) || e == nil:
		g.any(3)
	default:
		many := e.Many != g.c.rarely(30)
		if !many {
			g.value(e, path+"."+step, rest, depth)
			return
		}
		g.b = append(g.b, '[')
		elements := 1 + g.c.n(3)
		if g.k.policy.Layout != nil && !g.c.rarely(4) { // of several values a cell takes none
			elements = 1
		}
		for i := range elements {
			if i > 0 {
				g.b = append(g.b, ',')
			}
			if g.c.rarely(40) {
				g.any(1)
			} else {
				g.value(e, path+"."+step, rest, depth)
			}
		}
		g.b = append(g.b, ']')
	}
}

func (g *resources) value(e *extract.Element, path string, rest [][]string, depth int) {
	t := extract.TypeOf(e.Type)
	switch {
	case e.Type == "Resource" && depth > 0:
		g.resource(depth - 2)
	case t == nil:
		g.leaf(e.Type, e.Class, path)
	case depth <= 0 && len(rest) == 0:
		g.text("{}")
	default:
		if e.Type == "CodeableConcept" && len(rest) == 0 {
			rest = [][]string{{"coding", "system"}, {"coding", "code"}}
		} else if e.Type == "Coding" && len(rest) == 0 {
			rest = [][]string{{"code"}}
		} else if e.Type == "Reference" && len(rest) == 0 {
			rest = [][]string{{"reference"}}
		} else if e.Type == "Period" && len(rest) == 0 {
			rest = [][]string{{"start"}}
		}
		g.b = append(g.b, '{')
		g.members(t, path, rest, len(g.b), depth-1)
		g.b = append(g.b, '}')
	}
}

// leaf writes a value of a primitive type.
func (g *resources) leaf(primitive string, class extract.Class, path string) {
	if g.class != extract.Unclassed && class != extract.WebAddress && class != extract.CodeSystem {
		class = g.class
	}
	list := tameValues[class]
	if g.release != nil {
		for _, only := range g.release.Only {
			if codes, ok := only.Codes.Single(); ok && strings.HasPrefix(path, g.release.Dataset+"."+only.Path) && class == extract.Code && len(codes) > 0 {
				list = codes
			}
		}
	}
	value := ""
	if len(list) > 0 {
		value = pick(g.c, list)
	}
	if class == extract.Date && g.c.n(2) == 0 {
		value = "2025-03-02"
	}
	if class == extract.Date && primitive == "code" { // of a Timing
		value = "mon"
	}
	if strings.HasSuffix(path, ".meta.security.code") {
		value = pick(g.c, []string{"42CFRPart2", "42CFRPart2", "42cfrpart2", "N"})
	}
	if !g.tame && g.c.rarely(6) {
		value = g.wild()
	}
	switch primitive {
	case "decimal", "integer", "positiveInt", "unsignedInt":
		if json.Valid([]byte(value)) && !strings.HasPrefix(value, `"`) {
			g.text("%s", value)
			return
		}
		g.text("17")
	case "boolean":
		g.text("%s", pick(g.c, []string{"true", "false"}))
	default:
		g.string(value)
	}
}

func (g *making) wild() string {
	if g.c.rarely(4) {
		var b []byte
		for range g.c.n(12) {
			b = append(b, byte(g.c.n(256)))
		}
		if !g.c.rarely(8) {
			b = bytes.ToValidUTF8(b, []byte("?"))
		}
		return string(b)
	}
	return pick(g.c, wildValues)
}

// string writes a JSON string, some of its characters as escapes.
func (g *resources) string(value string) {
	g.b = append(g.b, '"')
	escapes := g.c.rarely(8)
	for i, r := range value {
		switch {
		case r == '"' || r == '\\':
			g.b = append(g.b, '\\', byte(r))
		case r < ' ' || escapes && r < 0x10000 && g.c.n(2) == 0:
			g.text([]string{`\u%04x`, `\u%04X`}[g.c.n(2)], r)
		case r == '/' && escapes:
			g.text(`\/`)
		case r == 0xFFFD && !strings.HasPrefix(value[i:], "\uFFFD"): // no UTF-8
			g.b = append(g.b, value[i])
		default:
			g.text("%c", r)
		}
	}
	if !g.tame && g.c.rarely(60) {
		g.text("%s", pick(g.c, []string{`\ud800`, `\udc00\ud800`, `\ud83d\ude00`, `\u0000`, `\x`, `\`}))
	}
	g.b = append(g.b, '"')
}

// any writes a value of any shape; of a tame extract no text that could leave.
func (g *resources) any(depth int) {
	switch kind := g.c.n(10); {
	case kind < 2 || depth == 0:
		g.text("%s", pick(g.c, []string{"null", "true", "17", "[]", "{}", "-0", "1E5"}))
	case kind < 4 && !g.tame:
		g.string(g.wild())
	case kind < 7:
		g.b = append(g.b, '[')
		for i := range g.c.n(3) {
			if i > 0 {
				g.b = append(g.b, ',')
			}
			g.any(depth - 1)
		}
		g.b = append(g.b, ']')
	default:
		g.b = append(g.b, '{')
		for i := range g.c.n(3) {
			if i > 0 {
				g.b = append(g.b, ',')
			}
			g.text(`"%s%d":`, pick(g.c, []string{"code", "coding", "value", "reference", "url", "modifierExtension"}), i)
			g.any(depth - 1)
		}
		g.b = append(g.b, '}')
	}
}

func (g *resources) primitiveExtension(depth int) {
	if g.c.n(2) == 0 {
		g.text(`{"id":"x","extension":[{"url":"http://x","valueString":"calm"}]}`)
		return
	}
	g.text("%s", pick(g.c, []string{`[null,{"extension":[{"url":"z","valueCode":"y"}]}]`, "null", `{"modifierExtension":[{"url":"m"}]}`, "[]", `"x"`, "7"}))
}

// extensions writes the extensions that the paths name, and others.
func (g *resources) extensions(paths [][]string, depth int) {
	g.b = append(g.b, '[')
	first := len(g.b)
	next := func() {
		if len(g.b) > first {
			g.b = append(g.b, ',')
		}
	}
	done := map[string]bool{}
	for _, p := range paths {
		url, is := strings.CutPrefix(p[0], "extension:")
		if !is || done[url] || g.c.rarely(8) {
			continue
		}
		done[url] = true
		for range 1 + g.c.n(2) {
			next()
			g.extension(url, below(paths, p[0]), depth-1)
		}
	}
	for range g.c.n(3) {
		next()
		switch g.c.n(4) {
		case 0:
			g.any(2)
		case 1:
			g.extension(pick(g.c, extract.KnownExtensions()).URL, nil, depth-1)
		default:
			g.extension(pick(g.c, []string{"http://x/y", "ombCategory", "", "text", `a\"b`}), nil, depth-1)
		}
	}
	g.b = append(g.b, ']')
}

func (g *resources) extension(url string, rest [][]string, depth int) {
	for _, known := range extract.KnownExtensions() {
		if known.URL == url {
			defer func(outer extract.Class) { g.class = outer }(g.class)
			g.class = known.Class
		}
	}
	g.b = append(g.b, '{')
	first := len(g.b)
	last := g.c.n(3) == 2
	if !last {
		g.name("url", first)
		g.text(`"%s"`, url)
	}
	if len(rest) > 0 || depth > 0 {
		rest = slices.DeleteFunc(slices.Clone(rest), func(p []string) bool { return p[0] == "url" })
		g.members(extract.TypeOf("Extension"), "", rest, first, depth)
	}
	if last {
		g.name("url", first)
		g.text(`"%s"`, url)
	}
	g.b = append(g.b, '}')
}

// rows makes delimited files.
type rows struct{ *making }

func (g *rows) extract() (*extract.FileRule, int) {
	names := []string{}
	for i := range g.k.policy.Release {
		names = append(names, g.k.policy.Release[i].Dataset)
	}
	dataset := pick(g.c, names)
	schema := g.k.schemas[dataset]
	rule := &extract.FileRule{Format: extract.Delimited, Dataset: dataset, Schema: schema}
	delimiter := string(rune(schema.Delimiter))
	end := pick(g.c, []string{"\n", "\r\n"})
	if !g.tame && g.c.rarely(12) {
		g.b = append(g.b, "\xef\xbb\xbf"...)
	}
	if schema.Header {
		g.b = append(g.b, strings.Join(schema.Names(), delimiter)+end...)
	}
	records := 1 + g.c.n(9)
	for i := range records {
		var cells []string
		for j := range schema.Fields {
			cells = append(cells, g.cell(&schema.Fields[j], i, delimiter))
		}
		if g.c.rarely(60) {
			cells = append(cells, "one more")
		} else if g.c.rarely(60) {
			cells = cells[:len(cells)-1]
		}
		g.b = append(g.b, strings.Join(cells, delimiter)...)
		if i < records-1 || g.c.n(2) == 0 {
			g.b = append(g.b, end...)
		}
	}
	if !g.tame && g.c.rarely(12) {
		g.b[g.c.n(len(g.b))] = byte(g.c.n(256))
	}
	if !g.tame {
		records = -1
	}
	return rule, records
}

// typed are the values that a column of its type may hold, most of them.
func typed(f *extract.Field, values []string) []string {
	return slices.DeleteFunc(slices.Clone(values), func(v string) bool {
		switch {
		case f.Type == extract.TypeDate:
			return len(v) != len("2025-03-02")
		case f.Type == extract.TypeDateTime:
			return len(v) < len("2025-03-02T08:15:00")
		case f.Type == extract.TypeInteger:
			return strings.ContainsAny(v, ".e")
		case f.Class == extract.Link:
			return strings.Contains(v, ":/") || strings.Contains(v, "p1") || strings.Contains(v, "p2") // an address, or another row's person
		}
		return false
	})
}

// inFormat writes a day as the schema has it: MM/DD/YYYY, where it has a form.
func inFormat(f *extract.Field, value string) string {
	if !f.Formatted() {
		return value
	}
	return value[5:7] + "/" + value[8:10] + "/" + value[:4]
}

// cell writes one cell; in quotes where it must be, and sometimes elsewhere.
func (g *rows) cell(f *extract.Field, row int, delimiter string) string {
	value := ""
	if list := typed(f, tameValues[f.Class]); len(list) > 0 && !g.c.rarely(10) {
		value = inFormat(f, pick(g.c, list))
	}
	switch {
	case f.Role == extract.RoleRecord && !g.c.rarely(20):
		value = fmt.Sprintf("r%d", row)
	case f.Role == extract.RoleSubject && !g.c.rarely(20):
		value = pick(g.c, tameValues[extract.SubjectKey])
	case f.Role == extract.RoleDate && !g.c.rarely(12):
		value = inFormat(f, pick(g.c, []string{"2025-03-02", "2024-03-02", "2024-05-01", "2024-12-31", "2025-12-31", "2026-03-02", "2026-05-31"}))
	case len(f.Enum()) > 0 && !g.c.rarely(20):
		value = pick(g.c, f.Enum())
	case f.Role == extract.RoleCode && !g.c.rarely(4):
		value = pick(g.c, []string{"44261-6", "70274-6", "75626-2"})
	}
	if !g.tame && g.c.rarely(7) {
		value = g.wild()
		if g.c.rarely(6) {
			return value // whatever its quotes and delimiters do to the row
		}
	}
	if strings.ContainsAny(value, "\"\r\n"+delimiter) || g.c.rarely(10) {
		return `"` + strings.ReplaceAll(value, `"`, `""`) + `"`
	}
	return value
}
