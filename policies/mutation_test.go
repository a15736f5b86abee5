package policies_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/librarytest"
)

// The identifiers as LAW counts them, with the classes that hold each: the
// eighteen of 45 CFR 164.514(b)(2)(i), the sixteen of (e)(2).
var (
	eighteen = map[string][]string{"(A)": {"name"}, "(B)": {"geography", "town", "postcode"}, "(C)": {"date", "birth-date", "death-date", "age"},
		"(D)": {"phone"}, "(E)": {"fax"}, "(F)": {"email"}, "(G)": {"ssn"}, "(H)": {"record-number"}, "(I)": {"member-number"}, "(J)": {"account"},
		"(K)": {"licence"}, "(L)": {"vehicle"}, "(M)": {"device-serial"}, "(N)": {"web-address"}, "(O)": {"network-address"}, "(P)": {"biometric"},
		"(Q)": {"photograph"}, "(R)": {"other-unique", "subject-key", "record-key", "link", "provider-key"}}
	sixteen = map[string][]string{"(i)": {"name"}, "(ii)": {"geography"}, "(iii)": {"phone"}, "(iv)": {"fax"}, "(v)": {"email"}, "(vi)": {"ssn"},
		"(vii)": {"record-number", "subject-key"}, "(viii)": {"member-number"}, "(ix)": {"account"}, "(x)": {"licence"}, "(xi)": {"vehicle"},
		"(xii)": {"device-serial"}, "(xiii)": {"web-address"}, "(xiv)": {"network-address"}, "(xv)": {"biometric"}, "(xvi)": {"photograph"},
		"(vii)-(ix)": {"record-key", "link"}, "(vi)-(xii)": {"other-unique"}}
	identifiersOf = map[policies.Standard]struct {
		law  string
		list map[string][]string
	}{
		policies.SafeHarbor:          {"164.514(b)(2)(i)", eighteen},
		policies.ExpertDetermination: {"164.514(b)(1); (b)(2)(i)", eighteen},
		policies.LimitedDataSet:      {"164.514(e)(2)", sixteen},
	}
)

// subject is a policy under mutation: how to make it anew, and its clinic.
type subject struct {
	name string
	text string // of its file; "" when it was made in code
	env  policies.Env
	load func() *policies.Policy
}

// mutable are all policies of the standards concerned: of testdata, of the
// library filled in with samples, and those made in code.
func mutable(t *testing.T) []subject {
	var list []subject
	add := func(s subject) {
		if _, ok := identifiersOf[s.load().Standard]; ok {
			list = append(list, s)
		}
	}
	library := t.TempDir()
	if err := librarytest.Fill(library); err != nil {
		t.Fatal(err)
	}
	for folder, env := range map[string]policies.Env{"testdata/right": policies.EnvOfTests(t), library: libraryEnv(t, library)} {
		files, _ := filepath.Glob(filepath.Join(folder, "*.yaml"))
		if len(files) < 4 {
			t.Fatalf("%s holds %d policies", folder, len(files))
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			add(subject{filepath.Base(file), string(text), env, func() *policies.Policy {
				p, err := policies.Load(file, env)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}})
		}
	}
	for name := range policies.Rights() {
		add(subject{name, "", policies.EnvOfTests(t), func() *policies.Policy { return policies.Rights()[name] }})
	}
	return list
}

// planted is the clinic with a column of every class in each schema, named after
// the class, and with a dataset of nothing else.
func planted(t *testing.T, env policies.Env) policies.Env {
	var columns []extract.Field
	for class := range extract.Class(extract.Classes) {
		column := extract.Field{Name: "planted_" + class.String(), Class: class}
		if class == extract.ProviderKey { // without it, a clinic with programs is told so
			column.Role = extract.RoleProvider
		}
		columns = append(columns, column)
	}
	schemas := map[string]*extract.Schema{"planted": {Fields: columns}}
	for name, schema := range env.Schemas {
		schemas[name] = &extract.Schema{Fields: slices.Concat(schema.Fields, columns)}
	}
	env.Schemas = schemas
	return env
}

// refused tells whether Check refuses the policy at a key path below release
// with a message that names the paragraph.
func refused(err error, path, paragraph string) bool {
	var mistakes *strictyaml.Errors
	return errors.As(err, &mistakes) && slices.ContainsFunc(mistakes.List, func(m strictyaml.Mistake) bool {
		return strings.HasPrefix(m.Path, "release.") && strings.Contains(m.Path, path) && strings.Contains(m.Message, paragraph)
	})
}

// For each identifier, each class that holds it and each transform that leaves
// too much of it: a policy that would let it out is refused, and the refusal
// names the paragraph. So is one that selects by it.
func TestMutatedColumns(t *testing.T) {
	for _, s := range mutable(t) {
		env := planted(t, s.env)
		std := s.load().Standard
		if _, err := policies.Check(s.load(), env); err != nil {
			t.Errorf("%s, unmutated: %v", s.name, err)
		}
		ran, reached := 0, map[string]bool{}
		attempt := func(class extract.Class, letter, paragraph, path string, mutate func(rel *policies.Release)) {
			p := s.load()
			mutate(delimited(p, env))
			if _, err := policies.Check(p, env); !refused(err, path, paragraph) {
				t.Errorf("%s: %s gets past %s: %v", s.name, class, paragraph, err)
			}
			ran++
			reached[letter] = true
		}
		law := identifiersOf[std]
		for letter, classes := range law.list {
			for _, name := range classes {
				class, _ := extract.ParseClass(name)
				column := "planted_" + name
				for do := range lawfulLetters {
					if !mayLeave(t, std, class, do) {
						attempt(class, letter, paragraphOf(law.law+letter, std, class, do), "fields."+column, func(rel *policies.Release) {
							rel.Fields = append(rel.Fields, policies.Field{Name: column, From: column, Do: do, Because: "a mutation", Width: 5, Top: 90, Days: 365, Unit: "weeks"})
						})
					}
				}
				if class != extract.Date {
					attempt(class, letter, law.law+letter, "only."+column, func(rel *policies.Release) {
						rel.Only = append(rel.Only, policies.Condition{Path: column, Codes: policies.Codes("x")})
					})
				}
			}
		}
		if len(reached) != len(law.list) || ran < 200 {
			t.Errorf("%s: %d mutations over %d identifiers", s.name, ran, len(reached))
		}
		t.Logf("%s: %d mutations over %d identifiers", s.name, ran, len(reached))
	}
}

// paragraphOf is what a refusal names: of tokens and shifted dates it is the
// paragraph that speaks of them.
func paragraphOf(paragraph string, std policies.Standard, class extract.Class, do policies.Transform) string {
	numbered := slices.Contains([]extract.Class{extract.SubjectKey, extract.RecordKey, extract.Link, extract.ProviderKey, extract.OtherUnique}, class)
	switch {
	case do == policies.Token && numbered && std == policies.SafeHarbor:
		return "164.514(c)"
	case do == policies.ShiftDate && (class == extract.Date || class == extract.DeathDate) && std == policies.SafeHarbor:
		return "164.514(b)(2)(i)(C)"
	}
	return paragraph
}

// delimited is a delimited dataset of the policy, added where it has none.
func delimited(p *policies.Policy, env policies.Env) *policies.Release {
	for i := range p.Release {
		if env.Schemas[p.Release[i].Dataset] != nil {
			return &p.Release[i]
		}
	}
	p.Output.Layout = "csv"
	p.Release = append(p.Release, policies.Release{Dataset: "planted", Only: []policies.Condition{{Path: "planted_date", Period: policies.LastClosedYear}}})
	return &p.Release[len(p.Release)-1]
}

// The same for elements: of each FHIR policy, in each of its resources and in
// one more where those lack the class, an element of each class that FHIR knows.
func TestMutatedElements(t *testing.T) {
	policiesSeen := 0
	for _, s := range mutable(t) {
		if !strings.Contains(s.text, "layout: ndjson") {
			continue
		}
		policiesSeen++
		std := s.load().Standard
		law, ran, reached := identifiersOf[std], 0, map[string]bool{}
		for letter, classes := range law.list {
			for _, name := range classes {
				class, _ := extract.ParseClass(name)
				for _, at := range elementsOf(class, s.load()) {
					if mayLeave(t, std, class, policies.Keep) {
						continue
					}
					p, err := policies.Load(write(t, s, withElement(s.text, at)), s.env)
					if err == nil {
						_, err = policies.Check(p, s.env)
					}
					if !refused(err, at[1], law.law+letter) {
						t.Errorf("%s: %s gets past %s: %v", s.name, at, law.law+letter, err)
					}
					ran++
					reached[letter] = true
				}
			}
		}
		// FHIR R4 tells a fax, an e-mail and a telephone apart by a value beside them, and
		// so the kinds of Identifier: they are all telephones, or unique numbers.
		letters := strings.Join(slices.Sorted(maps.Keys(reached)), " ")
		t.Logf("%s: %d mutations over %s", s.name, ran, letters)
		if std == policies.SafeHarbor && letters != "(A) (B) (C) (D) (I) (M) (N) (O) (P) (Q) (R)" || ran < 11 {
			t.Errorf("%s: %d mutations over %s only", s.name, ran, letters)
		}
	}
	if policiesSeen == 0 {
		t.Error("no policy of FHIR resources")
	}
}

// elementsOf finds an element of a class in each resource of the policy, as
// resource and path, and one in another resource if those have none.
func elementsOf(class extract.Class, p *policies.Policy) (list [][2]string) {
	for i := range p.Release {
		if typ := extract.TypeOf(p.Release[i].Dataset); typ != nil {
			if path := leafOf(typ, class, 3); path != "" {
				list = append(list, [2]string{typ.Name, path})
			}
		}
	}
	for _, resource := range extract.ResourceTypes() {
		if path := leafOf(extract.TypeOf(resource), class, 3); path != "" && len(list) == 0 {
			list = append(list, [2]string{resource, path})
		}
	}
	return list
}

func leafOf(typ *extract.TypeDef, class extract.Class, depth int) string {
	for i := range typ.Elements {
		e := &typ.Elements[i]
		inner := extract.TypeOf(e.Type)
		if inner == nil && e.Class == class && !slices.Contains([]string{"Extension", "Resource"}, e.Type) {
			return e.Name
		}
	}
	for i := range typ.Elements {
		e := &typ.Elements[i]
		if inner := extract.TypeOf(e.Type); inner != nil && depth > 1 && !slices.Contains([]string{"Extension", "Narrative", "Meta"}, e.Type) {
			if path := leafOf(inner, class, depth-1); path != "" {
				return e.Name + "." + path
			}
		}
	}
	return ""
}

// withElement is the text of a policy that keeps an element which it did not
// release, or not as it is.
func withElement(text string, at [2]string) string {
	text = regexp.MustCompile(`(?m)^      `+regexp.QuoteMeta(at[1])+`: .*\n`).ReplaceAllString(text, "")
	field := "      " + at[1] + ": {do: keep, because: a mutation}\n"
	fields := regexp.MustCompile(`(?ms)^  ` + at[0] + `:\n.*?^    fields:\n`)
	if place := fields.FindStringIndex(text); place != nil {
		return text[:place[1]] + field + text[place[1]:]
	}
	return strings.Replace(text, "\nrelease:\n", "\nrelease:\n  "+at[0]+":\n    fields:\n"+field, 1)
}

func write(t *testing.T, s subject, text string) string {
	file := filepath.Join(t.TempDir(), s.name)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
