package build

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/librarytest"
)

// The policies under which arbitrary extracts run: those of the library, and
// random ones of every standard, as far as the loader and the prover let them be.
var (
	resourcePolicies = sync.OnceValue(func() []*clinic { return fuzzed("resources", 70, (*random).resources) })
	rowPolicies      = sync.OnceValue(func() []*clinic { return fuzzed("rows", 70, (*random).rows) })
	layoutPolicies   = sync.OnceValue(func() []*clinic { return fuzzed("layouts", 140, (*random).layouts) })
)

// fuzzed makes as many policies of a kind, and adds those of the library.
func fuzzed(name string, n int, write func(*random)) []*clinic {
	var list []*clinic
	if name != "layouts" {
		list = library(name == "resources")
	}
	for seed := uint64(1); len(list) < n; seed++ {
		if seed > uint64(50*n) {
			panic("too few policies are right")
		}
		r := &random{Rand: rand.New(rand.NewPCG(seed, 9)), dir: filepath.Join(tempDir, name), file: fmt.Sprintf("p%d", seed)}
		write(r)
		if k := r.clinic(); k != nil {
			list = append(list, k)
		}
	}
	return list
}

// library are the shipped policies, of FHIR resources or of rows.
func library(resources bool) (list []*clinic) {
	dir := filepath.Join(tempDir, "library")
	sure(os.MkdirAll(dir, 0o700))
	sure(librarytest.Fill(dir))
	schemas := map[string]*extract.Schema{}
	for _, name := range []string{"scores", "visits"} {
		schemas[name] = sureOf(extract.LoadSchema(filepath.Join(dir, "schemas", name+".json")))
	}
	for _, shipped := range policies.ShippedPolicies() {
		if env := envOf(schemas); (shipped.Name == "treatment-fhir") == resources {
			p := sureOf(policies.Load(filepath.Join(dir, shipped.Name+".yaml"), env))
			for _, kind := range policies.RecipientKinds {
				if env.Recipients = map[string]string{p.Recipient: kind}; policies.Applies(kind, p.Basis, p.Standard).Known() {
					sureOf(policies.Check(p, env))
					list = append(list, ready(&clinic{policy: p, kind: kind, schemas: schemas}))
					break
				}
			}
		}
	}
	return list
}

// ready lets as much leave as the policy has fields for.
func ready(k *clinic) *clinic {
	k.policy.Tolerate.Rejected = 1
	k.policy.People.General = policies.PermitWithout
	return k
}

func envOf(schemas map[string]*extract.Schema) policies.Env {
	return policies.Env{Schemas: schemas, Demo: true, Today: fuzzedAsOf, Inputs: map[string]policies.InputInfo{
		"payer-roster": {Kind: "roster", Columns: []string{"subject", "member_id", "from", "to", "plan"}},
		"practices":    {Kind: "table", Schema: practices()}, "consents": {Kind: "consents"}, "restrictions": {Kind: "restrictions"}, "programs": {Kind: "programs"},
	}}
}

var practices = sync.OnceValue(func() *extract.Schema {
	return &extract.Schema{Fields: []extract.Field{{Name: "npi", Class: extract.ProviderKey}, {Name: "tin", Class: extract.ProviderKey}, {Name: "region", Class: extract.Code}}}
})

func sure(err error) {
	if err != nil {
		panic(err)
	}
}

func sureOf[T any](v T, err error) T {
	sure(err)
	return v
}

// random writes one policy.
type random struct {
	*rand.Rand
	dir, file string
	standard  policies.Standard
	basis     string
	kind      string
	release   []dataset
	schema    *extract.Schema // of rows
	cohort    string          // the dataset whose first record begins a window; "" without one
	layout    bool            // the recipient's; lay writes it
	rowKey    bool
	part2     bool // rows of a Part 2 program leave on a ground, in a part of their own
}

type dataset struct {
	name   string
	only   []string
	fields []releasedField
}

type releasedField struct{ name, text string }

func one[T any](r *random, list ...T) T { return list[r.IntN(len(list))] }

func (r *random) stand(roster bool) {
	r.standard = one(r, policies.Identified, policies.Identified, policies.LimitedDataSet, policies.SafeHarbor, policies.ExpertDetermination)
	switch {
	case r.standard == policies.Identified && roster:
		r.basis, r.kind = "45 CFR 164.506(c)(4)\npurpose: HOPERAT", "health-plan"
	case r.standard == policies.Identified:
		r.basis, r.kind = "45 CFR 164.506(c)(2)\npurpose: TREAT", "provider"
	case r.standard == policies.LimitedDataSet:
		r.basis, r.kind = "45 CFR 164.514(e)\npurpose: HRESCH", "researcher"
	default:
		r.basis, r.kind = "45 CFR 164.502(d)\npurpose: HRESCH", "registry"
	}
	r.part2 = (r.kind == "health-plan" || r.kind == "researcher") && r.IntN(2) == 0
}

const someMap = "postern: value-set/v1\ntitle: t\nsource: s\nlicence: l\nsystem: http://loinc.org\neffective: {from: 2026-01-01, to: open}\nmap: {final: F, amended: \"A,1\", 44261-6: \"x \\\"y\\\"\", 2106-3: White, female: fem, en: English, MA: North}\n"

// text is the policy file.
func (r *random) text() string {
	b := fmt.Sprintf("postern: policy/v1\npolicy: p\nversion: 1\nstandard: %s\nrecipient: them\nbasis: %s\nbecause: tests\ninclude: {groups: sets/groups.yaml}\n", r.standard, r.basis)
	kind := map[policies.Standard]string{policies.LimitedDataSet: "dua"}[r.standard]
	b += fmt.Sprintf("agreement: {kind: %s, id: A-1, from: 2026-01-01, to: 2027-12-31}\n", max(kind, "dua"))
	part2 := "without_directive: deny"
	if r.part2 {
		part2 += fmt.Sprintf(", grounds: [{section: %q, paper: P-1, from: 2026-01-01, to: 2027-12-31}]", map[string]string{"health-plan": "2.53", "researcher": "2.52"}[r.kind])
	}
	inputs := "  consents: {max_age: 7 days, shrink_limit: 1%}\n"
	switch r.standard {
	case policies.SafeHarbor:
		b += "attest: {actual_knowledge: {none_known: true, by: an officer, on: 2026-01-20, review_by: 2027-01-20}}\n"
	case policies.ExpertDetermination:
		b += "certificate: {expert: somebody, on: 2026-03-01, method: report, conditions: [none], expires: 2027-12-31, fine_dates: yes}\n"
	default:
		b += "people:\n  consent:\n    general: {without_directive: permit}\n    part2: {" + part2 + "}\n"
		if r.kind == "health-plan" {
			b += "  relationship: {roster: payer-roster, covered: at-service, if_ambiguous: withhold}\n"
			inputs += "  payer-roster: {max_age: 35 days, shrink_limit: 10%}\n  practices: {max_age: 35 days, shrink_limit: 10%}\n"
		}
		inputs += "  restrictions: {max_age: 7 days, shrink_limit: 0%}\n  programs: {max_age: 365 days, shrink_limit: 0%}\n"
	}
	b += "inputs:\n" + inputs
	if r.cohort != "" {
		b += "cohort: {index: first " + r.cohort + " of the person, index_year: last-closed, follow: 25 weeks, release_after: every window has closed}\n"
	}
	if r.part2 && r.seedOf()%2 == 0 {
		b += "notices: {scope_of_consent: per-row}\n"
	}
	b += "release:\n"
	for _, d := range r.release {
		b += "  " + d.name + ":\n    because: tests\n"
		if len(d.only) > 0 {
			b += "    only: {" + strings.Join(d.only, ", ") + "}\n"
		}
		b += "    fields:\n"
		for _, f := range d.fields {
			b += "      " + f.name + ": " + f.text + "\n"
		}
	}
	output := "layout: ndjson, mode: full"
	if r.schema != nil {
		output = "layout: csv, mode: full"
	}
	if r.layout {
		output = "layout: " + r.file + ", mode: full"
	}
	if r.rowKey && (r.layout || r.schema != nil) {
		output += ", row_key: yes"
	}
	switch {
	case r.standard == policies.SafeHarbor || r.standard == policies.ExpertDetermination:
		output += ", shuffle: people"
	case r.part2:
		output += ", part2_rows: own-file"
	default:
		output += ", part2_rows: leave-out"
	}
	return b + "output: {" + output + "}\n"
}

func (r *random) seedOf() int { return len(r.file) + int(r.file[len(r.file)-1]) }

// clinic loads the policy; fields that are refused are left out. It gives nil
// for a policy of which nothing is left, or that is wrong as a whole.
func (r *random) clinic() *clinic {
	sure(os.MkdirAll(filepath.Join(r.dir, "sets"), 0o700))
	sure(os.MkdirAll(filepath.Join(r.dir, "layouts"), 0o700))
	sure(os.WriteFile(filepath.Join(r.dir, "sets", "groups.yaml"), []byte(someMap), 0o600))
	env := envOf(map[string]*extract.Schema{})
	if r.schema != nil {
		env.Schemas["record"] = r.schema
	}
	env.Recipients, env.Unbuilt = map[string]string{"them": r.kind}, r.layout // which is written when the rest is right
	file := filepath.Join(r.dir, r.file+".yaml")
	for range 6 {
		if len(r.release) == 0 {
			return nil
		}
		sure(os.WriteFile(file, []byte(r.text()), 0o600))
		p, err := checked(file, env)
		if err == nil && r.unvouched(p) {
			continue
		}
		if err == nil && r.layout {
			env.Unbuilt = false
			sure(os.WriteFile(filepath.Join(r.dir, "layouts", r.file+".yaml"), []byte(r.layoutText(p)), 0o600))
			sure(os.WriteFile(file, []byte(r.text()), 0o600))
			p = sureOf(checked(file, env))
		}
		if err == nil {
			tables := map[string]*Table{}
			if r.schema != nil {
				tables["practices"] = r.practices()
			}
			return ready(&clinic{policy: p, kind: r.kind, schemas: env.Schemas, tables: tables})
		}
		if !r.mend(err) {
			return nil
		}
	}
	return nil
}

func checked(file string, env policies.Env) (*policies.Policy, error) {
	p, err := policies.Load(file, env)
	if err == nil {
		_, err = policies.Check(p, env)
	}
	return p, err
}

// unvouched leaves out the fields with values that only the roster can vouch
// for, of other resources than a Patient: it has no values of those, so the gate
// stops all of them.
func (r *random) unvouched(p *policies.Policy) (found bool) {
	for i := range p.Release {
		for _, f := range p.Release[i].Fields {
			if p.Release[i].Dataset == "Patient" || f.Do != policies.Keep || !slices.ContainsFunc(f.Leaves, func(l policies.Leaf) bool { _, is := rosterKinds[l.Class]; return is }) {
				continue
			}
			found = true
			for j := range r.release {
				r.release[j].fields = slices.DeleteFunc(r.release[j].fields, func(g releasedField) bool { return r.release[j].name == p.Release[i].Dataset && g.name == f.Name })
			}
		}
	}
	r.release = slices.DeleteFunc(r.release, func(d dataset) bool { return len(d.fields) == 0 })
	return found
}

func (r *random) practices() *Table {
	name := filepath.Join(r.dir, "practices.csv")
	sure(os.WriteFile(name, []byte("npi,tin,region\n1999000023,061234567,north\n1234567893,,\"a,b\"\n"), 0o600))
	return sureOf(LoadTable(name, practices()))
}

// mend leaves out the fields that are at fault; false when there are none.
func (r *random) mend(err error) bool {
	var mistakes *strictyaml.Errors
	if !errors.As(err, &mistakes) {
		panic(err)
	}
	mended := false
	for i := range r.release {
		d := &r.release[i]
		if endless := slices.ContainsFunc(mistakes.List, func(m strictyaml.Mistake) bool { return m.Path == "release."+d.name+".only" }); endless && !slices.Contains(d.only, "date: last-closed-year") {
			d.only = append(d.only, "date: last-closed-year")
			mended = true
		}
		d.fields = slices.DeleteFunc(d.fields, func(f releasedField) bool {
			at := strictyaml.Join("release."+d.name+".fields", f.name)
			wrong := slices.ContainsFunc(mistakes.List, func(m strictyaml.Mistake) bool { return m.Path == at || strings.HasPrefix(m.Path, at+".") })
			mended = mended || wrong
			return wrong
		})
	}
	r.release = slices.DeleteFunc(r.release, func(d dataset) bool { return len(d.fields) == 0 })
	return mended && len(r.release) > 0
}

// resources writes a policy of some resource types: whole elements, leaves, and
// known extensions, each with some transform.
func (r *random) resources() {
	r.stand(r.layout && r.IntN(2) == 0)
	types := []string{one(r, extract.ResourceTypes()...), one(r, "Observation", "Condition", "Encounter", "QuestionnaireResponse", "MeasureReport", "Procedure"), "Patient"}
	if r.kind == "health-plan" { // a Patient has no day of service
		types = types[:2]
	}
	for _, typ := range slices.Compact(types) {
		if slices.ContainsFunc(r.release, func(d dataset) bool { return d.name == typ }) {
			continue
		}
		d := dataset{name: typ}
		if r.layout {
			if r.cohort == "" && typ != "Patient" && r.IntN(2) == 0 {
				r.cohort = typ
			}
			d.fields = r.knownOfThePerson()
		}
		if (typ == "Observation" || typ == "QuestionnaireResponse") && r.IntN(2) == 0 || r.standard == policies.SafeHarbor && typ == "Observation" {
			d.only = []string{"code: [44261-6, 55758-7]"}
			if typ == "QuestionnaireResponse" {
				d.only = []string{"status: [final, amended]"}
			}
		}
		for i := range 4 + r.IntN(14) {
			name, class := r.element(typ)
			if r.layout && i < 3 && typ == "Observation" { // what rows of components and columns by a code need
				name = []string{"component.code.coding.code", "component.valueQuantity.value", "code.coding.code"}[i]
				class = []extract.Class{extract.Code, extract.Number, extract.Code}[i]
			}
			if !slices.ContainsFunc(d.fields, func(f releasedField) bool {
				return f.name == name || strings.HasPrefix(f.name, name+".") || strings.HasPrefix(name, f.name+".")
			}) {
				d.fields = append(d.fields, releasedField{name, r.transform(class, true)})
			}
		}
		r.release = append(r.release, d)
	}
}

// element names a leaf or a whole of a type, and the class of a leaf.
func (r *random) element(typ string) (string, extract.Class) {
	if r.IntN(8) == 0 {
		return one(r, extract.KnownExtensions()...).Name, extract.Unclassed
	}
	if r.IntN(6) == 0 {
		return one(r, "subject", "value[x]", "code"), extract.Unclassed
	}
	t := extract.TypeOf(typ)
	var path []string
	for {
		e := one(r, t.Elements...)
		if e.Name == "extension" || e.Name == "modifierExtension" || e.Type == "Resource" {
			return "id", extract.TypeOf(typ).Element("id").Class
		}
		path = append(path, e.Name)
		next := extract.TypeOf(e.Type)
		if next == nil || r.IntN(2) == 0 {
			return strings.Join(path, "."), e.Class
		}
		t = next
	}
}

// formatted is the type of a day in a form of its own.
const formatted = `date", "format": "%m/%d/%Y`

// knownOfThePerson are fields that no column or element of a record holds.
func (r *random) knownOfThePerson() (list []releasedField) {
	for _, f := range []releasedField{
		{"years", "{do: age}"}, {"age", "{do: age-band, width: 5, top: 90+}"}, {"age_then", "{at: index, do: age-band, width: 10, top: 90+}"},
		{"first", "{from: index, do: year}"}, {"member_id", "{from: payer-roster.member_id}"}, {"plan", "{from: payer-roster.plan}"},
	} {
		if r.IntN(3) == 0 {
			list = append(list, f)
		}
	}
	return list
}

// rows writes a schema and a policy of rows.
func (r *random) rows() {
	r.stand(true)
	r.rowKey = r.IntN(2) == 0 && r.standard != policies.SafeHarbor
	d := dataset{name: "record", fields: r.knownOfThePerson()}
	if r.IntN(2) == 0 {
		r.cohort = "record"
	}
	type column struct{ name, typ, class, role string }
	columns := []column{{"row", "string", "record-key", "record"}, {"patient", "string", "subject-key", "subject"}, {"day", one(r, "date", formatted), "date", "date"}}
	for i := range 2 + r.IntN(10) {
		class := extract.Class(1 + r.IntN(extract.Classes-1))
		c := column{fmt.Sprintf("c%d", i), "string", class.String(), "none"}
		switch class {
		case extract.Number, extract.AgeYears:
			c.typ = one(r, "integer", "number", "string")
		case extract.Date, extract.BirthDate, extract.DeathDate:
			c.typ = one(r, "date", formatted, "datetime", "string")
		case extract.Boolean:
			c.typ = one(r, "boolean", "string")
		case extract.ProviderKey:
			c.role = one(r, "provider", "none")
		}
		columns = append(columns, c)
	}
	schema := fmt.Sprintf(`{"dialect": {"delimiter": %q, "header": %v}, "primaryKey": "row", "fields": [`, one(r, ",", ",", "|", ";", "\t"), r.IntN(3) > 0)
	for i, c := range columns {
		class, _ := extract.ParseClass(c.class)
		schema += fmt.Sprintf(`%s{"name": %q, "type": "%s", "class": %q, "role": %q%s}`, map[bool]string{true: ","}[i > 0], c.name, c.typ, c.class, c.role, map[bool]string{true: `, "constraints": {"required": true}`}[i < 3])
		if r.IntN(4) > 0 {
			d.fields = append(d.fields, releasedField{c.name, r.transform(class, false)})
		}
	}
	sure(os.MkdirAll(r.dir, 0o700))
	name := filepath.Join(r.dir, r.file+".json")
	sure(os.WriteFile(name, []byte(schema+"]}"), 0o600))
	r.schema = sureOf(extract.LoadSchema(name))
	for _, f := range []releasedField{
		{"person", "{do: code}"}, {"week", "{from: day, do: relative-time, unit: weeks}"}, {"again", "{from: day, do: year}"}, {"source", `{do: constant, value: "a, b"}`},
	} {
		if r.IntN(3) == 0 {
			d.fields = append(d.fields, f)
		}
	}
	for _, c := range columns {
		if c.class == "provider-key" && r.IntN(2) == 0 {
			d.fields = append(d.fields, releasedField{"tin", "{from: practices.tin, by: " + c.name + "}"}, releasedField{"part", "{from: practices.region, by: " + c.name + "}"})
			break
		}
	}
	if r.IntN(3) == 0 {
		d.only = []string{"date: last-closed-year"}
	}
	r.release = []dataset{d}
}

// transform is one of those that the standard lets a class leave with.
func (r *random) transform(class extract.Class, element bool) string {
	var list []string
	for do, rest := range map[policies.Transform]string{
		policies.Keep: "", policies.CodePerson: "", policies.Year: "", policies.ZIP3: "", policies.Token: "", policies.Ordinal: "",
		policies.AgeBand: ", width: 5, top: 90+", policies.Age: "", policies.RelativeTime: ", unit: days", policies.ShiftDate: ", range: 365 days", policies.Round: ", to: 5", policies.Map: ", to: groups", policies.Band: ", bands: [0-9, 10-19, 20+]",
	} {
		aged, laid := do == policies.AgeBand || do == policies.Age, do == policies.RelativeTime || do == policies.Band
		if policies.Permits(r.standard, class, do) && !(element && (aged || laid && !r.layout)) {
			list = append(list, "{do: "+string(do)+rest+"}")
		}
	}
	if len(list) == 0 || class == extract.Unclassed {
		return one(r, "{do: keep}", "{do: keep}", "{do: keep}", "{do: year}", "{do: code}")
	}
	slices.Sort(list)
	return one(r, list...)
}

func (r *random) showsDates() bool {
	return r.standard == policies.Identified || r.standard == policies.LimitedDataSet
}
