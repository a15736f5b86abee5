package agent_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/policies"
)

// canaries fills resources and rows with values that occur once, and remembers
// where each stands: Type.path, with (never) behind it where no policy can name
// it. Its person has consented to everything and is the plan's member.
type canaries struct {
	n, days int
	person  string
	where   map[string]string
}

var canaryPattern = regexp.MustCompile(`Q[0-9]{6}Z|77[0-9]{6}|18[0-9]{2}-[0-9]{2}-[0-9]{2}|UT[A-Za-z0-9]{9}=`)

func newCanaries() *canaries {
	c := &canaries{where: map[string]string{}}
	c.person = c.mark("person")
	return c
}

func (c *canaries) mark(path string) string {
	c.n++
	digits := []byte(fmt.Sprint(100000 + c.n))
	slices.Reverse(digits) // so that the search need not look at all for each
	return c.note("Q"+string(digits)+"Z", path)
}

func (c *canaries) note(value, path string) string {
	c.where[value] = path
	return value
}

// primitive is a value of a FHIR type (R4 §2.24) that nothing else has.
func (c *canaries) primitive(typ, path string) any {
	c.n++
	number := fmt.Sprint(77000000 + c.n)
	switch typ {
	case "boolean":
		return true
	case "decimal", "integer", "positiveInt", "unsignedInt":
		return json.Number(c.note(number, path))
	case "date":
		c.days++
		return c.note(time.Date(1880, 1, c.days, 0, 0, 0, 0, time.UTC).Format(time.DateOnly), path)
	case "dateTime", "instant":
		return "1890-01-02T03:04:05." + c.note(number, path) + "Z"
	case "time":
		return "03:04:05"
	case "base64Binary":
		marker := c.mark(path)
		text := base64.StdEncoding.EncodeToString([]byte(marker))
		return c.note(text, path)
	case "uri", "url", "canonical":
		return "http://canary.example/" + c.mark(path)
	}
	return c.mark(path)
}

// patientElements name whom a resource is about (FHIR R4, patient compartment).
var patientElements = []string{"subject", "patient", "beneficiary", "individual"}

// object fills every element of a type, members that FHIR does not know,
// extensions, extensions of primitives, and what is contained.
func (c *canaries) object(typ, path string, depth int) map[string]any {
	t := extract.TypeOf(typ)
	never := path + " (never)"
	o := map[string]any{"nickname": c.mark(never)}
	if t.Resource {
		o["resourceType"] = typ
	}
	for _, e := range t.Elements {
		primitive := extract.TypeOf(e.Type) == nil && e.Type != "Resource"
		var v any
		switch {
		case e.Name == "modifierExtension" || !primitive && depth == 0 && e.Name != "extension":
			continue
		case e.Name == "extension":
			v = map[string]any{"url": "http://canary.example/" + c.mark(never), "valueString": c.mark(never), "extension": []any{map[string]any{"url": "y", "valueCode": c.mark(never)}}}
		case e.Type == "Resource":
			v = map[string]any{"resourceType": "Basic", "id": c.mark(never), "code": map[string]any{"text": c.mark(never)}, "text": map[string]any{"div": c.mark(never)}}
		case primitive:
			o["_"+e.Name] = map[string]any{"id": c.mark(never), "extension": []any{map[string]any{"url": "z", "valueString": c.mark(never)}}}
			v = c.leaf(e, path)
		default:
			v = c.object(e.Type, path+"."+e.Name, depth-1)
		}
		if e.Many {
			v = []any{v}
		}
		if e.Name == "reference" && v == nil {
			continue
		}
		o[e.Name] = v
	}
	return o
}

func (c *canaries) leaf(e extract.Element, path string) any {
	here := path + "." + e.Name
	switch {
	case e.Name == "comparator": // of four signs, any other leaves under no plan
		return "<"
	case e.Class == extract.State, e.Type == "uri" && e.Name == "type" && path != "StructureDefinition":
		return c.primitive(e.Type, here+" (never)") // no state, and no type of a resource for a Reference
	case e.Class == extract.AgeYears: // the same of a number that is no age
		return 42
	}
	if e.Class != extract.Link || e.Name != "reference" {
		return c.primitive(e.Type, here)
	}
	element := path[strings.LastIndexByte(path, '.')+1:]
	switch {
	case slices.Contains(patientElements, element):
		return "Patient/" + c.person
	case element == "hasMember" || element == "derivedFrom" || element == "evaluatedResource":
		return nil // evidence that is not there would keep the record back
	}
	return "Practitioner/" + c.mark(here)
}

// resources are one line for each resource type. Those that the library names
// have what its conditions ask for, and are found where references look.
func (c *canaries) resources(t testing.TB) (lines []byte) {
	t.Helper()
	organization, observed := c.mark("Organization.id"), false
	for _, typ := range append(extract.ResourceTypes(), "Observation") {
		r := c.object(typ, typ, 3)
		coded := func(system, code string) []any {
			return []any{map[string]any{"coding": []any{map[string]any{"system": system, "code": code, "display": c.mark(typ + ".code.coding.display")}}}}
		}
		switch typ {
		case "Patient":
			r["id"], r["birthDate"], r["deceasedDateTime"] = c.person, canaryBirth, "2026-06-29T13:37:11Z"
			delete(r, "link") // who is perhaps somebody else is kept back
		case "Encounter":
			r["serviceProvider"].(map[string]any)["reference"] = "Organization/" + organization
		case "Organization":
			r["id"] = organization
		case "Observation": // twice: evidence that is not there keeps the first back
			if observed {
				delete(r, "hasMember")
				delete(r, "derivedFrom")
			}
			observed = true
			r["status"], r["code"], r["effectiveDateTime"] = "final", coded("http://loinc.org", "44261-6")[0], "2026-02-03"
		}
		line, err := json.Marshal(r)
		must(t, err)
		lines = append(append(lines, line...), '\n')
	}
	return lines
}

const (
	canaryBirth = "1951-03-07"
	canaryDays  = "2024-02-06" // within the cohort
)

// classRows are rows of a dataset with a column for each class, and its schema.
func (c *canaries) classRows(t testing.TB) (schema, rows string) {
	t.Helper()
	type field struct {
		Name  string `json:"name"`
		Type  string `json:"type"`
		Class string `json:"class"`
		Role  string `json:"role,omitempty"`
	}
	var fields []field
	var names, cells []string
	for class := extract.Class(1); int(class) < extract.Classes; class++ {
		f := field{Name: strings.ReplaceAll(class.String(), "-", "_"), Type: "string", Class: class.String()}
		typ := "string"
		switch class {
		case extract.Date, extract.BirthDate, extract.DeathDate:
			f.Type, typ = "date", "date"
		case extract.Number, extract.AgeYears:
			f.Type, typ = "number", "decimal"
		case extract.Boolean:
			f.Type, typ = "boolean", "boolean"
		case extract.WebAddress, extract.CodeSystem:
			typ = "uri"
		case extract.SubjectKey:
			f.Role = "subject"
		case extract.RecordKey:
			f.Role = "record"
		}
		at := "classes." + f.Name
		if class == extract.State || class == extract.ProviderKey {
			at += " (never)" // these are no states, and have no check digit
		}
		cell := fmt.Sprint(c.primitive(typ, at))
		switch class {
		case extract.SubjectKey:
			cell = c.person
		case extract.AgeYears:
			cell = "42"
		}
		fields, names, cells = append(fields, f), append(names, f.Name), append(cells, cell)
	}
	text, err := json.Marshal(map[string]any{"name": "classes", "dialect": map[string]any{"delimiter": ",", "header": true}, "primaryKey": "record_key", "missingValues": []string{""}, "fields": fields})
	must(t, err)
	return string(text), strings.Join(names, ",") + "\n" + strings.Join(cells, ",") + "\n"
}

// canaryHouse is a clinic with the library and, among others, the canaries.
func canaryHouse(t *testing.T, c *canaries, log io.Writer) *house {
	h := libraryHouse(t, synthetic.Options{Patients: 100})
	member := c.mark("roster.member_id")
	h.add(rosterCSV, c.person+","+member+",2024-01-01,,")
	h.add(consentsCSV, registry(c.person, "general", "permit", "active", "2020-01-01", ""))
	_, npi := h.plainMember()
	who := func(dataset string) []string {
		return []string{npi, canaryBirth, "female", c.mark(dataset + ".race"), c.mark(dataset + ".ethnicity")}
	}
	row := func(cells ...[]string) string { return strings.Join(slices.Concat(cells...), ",") }
	for _, s := range [][]string{{canaryDays, "44261-6", "23"}, {"2026-03-04", "44261-6", "21"}, {"2026-03-05", "75626-2", "11"}} {
		h.add(scoresCSV, row([]string{c.mark("scores.record_id"), c.person, c.mark("scores.encounter_id")}, s, []string{"final"}, who("scores"),
			[]string{c.mark("scores.language"), "MA", c.note("73949", "scores.zip")}))
	}
	h.add("extract/visits/visits.csv", row([]string{c.mark("visits.visit_id"), c.person, "2026-05-11", "follow-up", "kept", "2026-05-12", "6"}, who("visits"),
		[]string{c.note("Canaryville", "visits.town"), "MA", c.note("73951", "visits.zip"), c.note("+1-701-555-0189", "visits.phone")}))
	h.write("extract/fhir/Canaries.ndjson", string(c.resources(t)))
	schema, rows := c.classRows(t)
	must(t, os.Mkdir(filepath.Join(h.dir, "extract", "classes"), 0o700))
	h.write("extract/classes/classes.csv", rows)
	h.write("schemas/classes.json", schema)
	config := h.read("postern.yaml")
	h.write("postern.yaml", strings.Replace(config, "      - {match: \"fhir/", "      - {match: \"classes/*.csv\", format: delimited, dataset: classes, schema: schemas/classes.json}\n      - {match: \"fhir/", 1))
	h.open(hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: log}))
	return h
}

// canariesMayLeave says of each policy of the library, by hand, which canaries
// it releases: of those before the bar each has to arrive.
var canariesMayLeave = map[string]struct{ arrive, may string }{
	"members-scores":     {`roster\.member_id`, ``},
	"program-screening":  {`roster\.member_id`, ``},
	"access-utilization": {`roster\.member_id`, ``},
	"registry-outcomes":  {`scores\.race`, ``},
	"public-health":      {`visits\.(race|ethnicity|town|zip)`, ``},
	"treatment-fhir": {
		`person|Patient\.(name\.(family|given|prefix|suffix)|gender|address\.postalCode)|Encounter\.(id|status|class\.(system|code)|period\.(start|end))` +
			`|Observation\.(id|valueQuantity\.value)|Condition\.(id|clinicalStatus\.coding\.code|code\.coding\.code|recordedDate)|Organization\.id`,
		`Patient\.name\.(text|use|period\.(start|end))|Observation\.(value.*|code\.coding\.(code|system))|Condition\.(clinicalStatus|code)\.coding\.(code|system)`},
}

// TestCanaries runs every policy of the library over a source that is full of
// canaries. What leaves of them is what the policy names, to the value, and no
// book, log, error, state or temporary file has any.
func TestCanaries(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	c, log := newCanaries(), &bytes.Buffer{}
	h := canaryHouse(t, c, log)
	values := map[string]bool{"13:37:11": true}
	for value := range c.where {
		values[value] = true
	}
	w := &plantedWorld{values: values, search: newSearch(values), forms: newSearch(values)}
	for policy, leaves := range canariesMayLeave {
		t.Run(policy, func(t *testing.T) {
			h := &house{t: t, dir: h.dir, world: h.world, agent: h.agent}
			outcome := h.run(policy, agent.RunOptions{})
			d := h.drop(policy, outcome.Number)
			arrives, may, arrived := regexp.MustCompile(`^(`+leaves.arrive+`)$`), regexp.MustCompile(`^(`+leaves.may+`)$`), map[string]bool{}
			for name, part := range d.parts {
				for value := range w.search.in(part, false) {
					where := c.where[value]
					if arrived[where] = true; !arrives.MatchString(where) && !may.MatchString(where) {
						t.Errorf("%s holds the value at %q, which the policy does not name", name, where)
					}
				}
			}
			_, err := h.agent.Deliver(t.Context(), policy)
			must(t, err)
			for value, where := range c.where {
				if arrives.MatchString(where) && !arrived[where] {
					t.Errorf("%s: %s, which the policy names, has not arrived", where, value)
				}
			}
			t.Logf("%d canaries, %d places of them in the drop", len(c.where), len(arrived))
			for what, v := range map[string]any{"the outcome": outcome, "the book": d.book, "the manifest": d.manifest} {
				text, err := json.Marshal(v)
				must(t, err)
				w.none(t, what, text, false)
			}
		})
	}
	h.add(rosterCSV, c.person+","+c.person)
	for policy := range canariesMayLeave {
		_, err := h.agent.Run(t.Context(), policy, agent.RunOptions{AsOf: day(synthetic.AsOf)})
		if roster := policy == "members-scores" || policy == "program-screening" || policy == "access-utilization"; roster && err == nil {
			t.Errorf("%s runs with a roster that is cut short", policy)
		}
		w.none(t, "an error", fmt.Append(nil, err), false)
	}
	w.none(t, "the log", log.Bytes(), false)
	if files := w.noneBelow(t, filepath.Join(h.dir, "state")); files < 30 {
		t.Errorf("only %d files of state", files)
	}
	w.noneBelow(t, temp)
	for _, r := range h.world.Recipients {
		w.noneBelow(t, r.Inbox())
	}
	w.noneInDatabase(t, filepath.Join(h.dir, "state"))
}

// TestCanariesArriveWhereAllIsKept is why finding none says something: a plan
// that keeps every leaf there is, without a gate behind it, lets every canary
// out that stands in a leaf; and the source has them all.
func TestCanariesArriveWhereAllIsKept(t *testing.T) {
	c := newCanaries()
	lines := c.resources(t)
	schemaText, rows := c.classRows(t)
	dir := t.TempDir()
	for name, text := range map[string]string{"fhir.ndjson": string(lines), "classes.csv": rows, "classes.json": schemaText} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	schema, err := extract.LoadSchema(filepath.Join(dir, "classes.json"))
	must(t, err)
	out := keptAll(t, filepath.Join(dir, "fhir.ndjson"), &extract.FileRule{Format: extract.FHIRNDJSON}, nil)
	out = append(out, keptAll(t, filepath.Join(dir, "classes.csv"), &extract.FileRule{Format: extract.Delimited, Dataset: "classes", Schema: schema}, schema)...)
	there, arrived := map[string]bool{}, map[string]bool{}
	for _, value := range canaryPattern.FindAllString(string(lines)+rows, -1) {
		there[value] = true
	}
	for _, value := range canaryPattern.FindAllString(string(out), -1) {
		arrived[value] = true
	}
	for value := range there {
		where := c.where[value]
		if never := strings.HasSuffix(where, "(never)"); arrived[value] == never {
			t.Errorf("%s at %q: left %v", value, where, !never)
		}
	}
	if len(there) < 50000 || len(arrived) < len(there)/10 {
		t.Errorf("%d canaries, of which %d have arrived", len(there), len(arrived))
	}
	t.Logf("%d canaries, %d arrived", len(there), len(arrived))
}

// keptAll is what leaves of a file when every leaf is kept.
func keptAll(t *testing.T, path string, rule *extract.FileRule, schema *extract.Schema) []byte {
	t.Helper()
	file, err := extract.FileAt(path, rule)
	must(t, err)
	chunks := extract.OpenChunks([]extract.File{file})
	defer chunks.Close()
	var chunk extract.Chunk
	var out deid.Output
	scanner := extract.NewScanner()
	for {
		if err := chunks.Next(&chunk); errors.Is(err, io.EOF) {
			return out.Bytes
		} else if err != nil {
			t.Fatal(err)
		}
		scanner.Reset(&chunk)
		var rec extract.Record
		for scanner.Next(&rec) {
			if rec.Dataset == extract.Unreadable {
				t.Fatalf("line %d cannot be read", rec.Place.Line)
			}
			plan, err := deid.Compile(keepAll(rec.Dataset, schema), rec.Dataset, deid.Options{AsOf: day(synthetic.AsOf), Schema: schema})
			must(t, err)
			must(t, plan.Engine().Apply(&rec, nil, &out))
		}
	}
}

func keepAll(dataset string, schema *extract.Schema) *policies.Policy {
	release := policies.Release{Dataset: dataset}
	layout := "ndjson"
	if schema != nil {
		layout = "csv"
		for _, column := range schema.Fields {
			if policies.Permits(policies.Identified, column.Class, policies.Keep) {
				release.Fields = append(release.Fields, policies.Field{Name: column.Name, From: column.Name, Do: policies.Keep, Class: column.Class})
			}
		}
	} else {
		release.Fields = []policies.Field{{Name: "all", Do: policies.Keep, Leaves: leavesOf(dataset, nil, 3)}}
	}
	return &policies.Policy{Standard: policies.Identified, Output: policies.Output{Layout: layout}, Release: []policies.Release{release}}
}

func leavesOf(typ string, path []string, depth int) (leaves []policies.Leaf) {
	for _, e := range extract.TypeOf(typ).Elements {
		here := append(path[:len(path):len(path)], e.Name)
		switch {
		case e.Name == "extension" || e.Name == "modifierExtension" || e.Type == "Resource":
		case extract.TypeOf(e.Type) == nil:
			leaves = append(leaves, policies.Leaf{Path: here, Class: e.Class})
		case depth > 0:
			leaves = append(leaves, leavesOf(e.Type, here, depth-1)...)
		}
	}
	return leaves
}
