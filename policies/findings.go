package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Kinds of findings. They warn; a contradiction, which nothing can meet, is a
// mistake that Check refuses.
const (
	Gap       = "gap"       // something is prepared for, and cannot happen
	Shadowing = "shadowing" // something is named, and more is named that holds it
	DeadRule  = "dead-rule" // it decides nothing
)

// Finding is something in a policy that is allowed, and that its author hardly
// meant.
type Finding struct {
	Kind   string `json:"kind"`
	Path   string `json:"path"` // of keys
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
	Says   string `json:"says"`
	Remedy string `json:"remedy"`
}

// Findings reads a policy that Check found right with the sets that comparing works
// with (docs/comparing-policies.md).
func Findings(p *Policy, env Env) []Finding {
	f := &finding{Policy: p, env: env, whole: newView(p, env, "", nil)}
	for _, v := range views(p, env) {
		f.conditions(v)
	}
	f.inputs()
	f.steps()
	f.part2()
	f.valueSets()
	f.totals()
	f.choices()
	return f.list
}

// finding is one reading of a policy.
type finding struct {
	*Policy
	env   Env
	whole *view // of the policy, whatever the dataset
	list  []Finding
}

func (f *finding) add(kind, path, remedy, format string, args ...any) {
	pos := f.source.At(path)
	at := Finding{Kind: kind, Path: path, Line: pos.Line, Column: pos.Column, Says: fmt.Sprintf(format, args...), Remedy: remedy}
	if !slices.Contains(f.list, at) {
		f.list = append(f.list, at)
	}
}

// contradictions refuses a policy of which a part admits nothing in one of its
// dimensions: it would promise what never leaves.
func contradictions(p *Policy, env Env, say saying) {
	for _, v := range views(p, env) {
		for _, d := range dimensions(v, v) {
			if !d.find(&Situation{}, func(s *Situation) bool { return v.admits(d.name, s) }) {
				v.contradiction(d.name, say)
			}
		}
	}
}

func (v *view) contradiction(dimension string, say saying) {
	switch what, which, _ := strings.Cut(dimension, ":"); what {
	case dimDay:
		say("agreement", "compare the dates of agreement, attestation, certificate and value sets, and the years that are written out",
			"on no day does everything hold that the policy stands on, so nothing ever leaves")
	case dimDates:
		say(strings.TrimSuffix(v.first(), ".only"), "compare the periods with each other and with the cohort; members are asked for on the day of service, so the rows need a date",
			"no date and as-of day meet all that is asked of %s, so nothing of it ever leaves", v.name)
	case dimValue:
		say(v.placeOf(which), "write values that the schema lists", "no value of %s meets the condition, so nothing of %s ever leaves", which, v.name)
	default: // people
		say(strictyaml.Join("release", v.dataset), "name the patient by a column of role subject in the schema, or release another dataset",
			"the rows of %s do not say whom they concern, so nothing of it ever leaves", v.name)
	}
}

// first is the key path of the dates of a view: of its first condition on a
// date, or of the dataset.
func (v *view) first() string {
	for i, c := range v.only {
		if c.Period != "" {
			return v.places[i]
		}
	}
	return strictyaml.Join("release", v.dataset)
}

func (v *view) placeOf(path string) string {
	return v.places[slices.IndexFunc(v.only, func(c Condition) bool { return c.Path == path })]
}

// conditions finds those that decide nothing, and the values in them that
// others hide or that no row can have.
func (f *finding) conditions(v *view) {
	for i, c := range v.only {
		without := *v
		without.only = slices.Delete(slices.Clone(v.only), i, i+1)
		if base, ok := without.meet(v); ok && len(without.wider(v, base)) == 0 {
			f.add(DeadRule, v.places[i], "remove it, or correct what it was meant to leave out", "the condition leaves nothing out")
		}
		f.hidden(v.places[i], c.Codes)
		codes, _ := c.Codes.Single()
		for _, code := range codes {
			if listed := v.listed(c.Path); listed != nil && !slices.Contains(listed, code) {
				f.add(Gap, v.places[i], "remove it, or correct the schema", "%s is no value that the schema of %s lists", code, v.dataset)
			}
		}
	}
}

func (f *finding) hidden(path string, set CodeSet) {
	for _, code := range set.hidden {
		f.add(Shadowing, path, "remove it", "%s is named, and so is more that holds it", code)
	}
}

// inputs finds protective inputs that no step reads.
func (f *finding) inputs() {
	s := f.whole.steps
	part2 := s.Part2 || f.whole.leavesPart2Out()
	reads := map[string]bool{"consents": s.Consent || part2 || f.whole.optOutBinds(), "restrictions": s.SelfPay || s.Agreed, "programs": part2, "merges": true}
	for _, name := range sortedNames(f.Inputs) {
		info, known := f.env.Inputs[name]
		if known && !(info.Kind == "roster" && f.looksInto(name)) && !reads[info.Kind] {
			f.add(DeadRule, strictyaml.Join("inputs", name), "remove it, or name it where it was meant to be read", "no step reads the input %s; it can only stop the exchange", name)
		}
	}
}

// looksInto tells whether the policy asks a roster who is a member, or for a value.
func (f *finding) looksInto(roster string) bool {
	found := f.People.Roster == roster
	for _, rel := range f.Release {
		found = found || slices.ContainsFunc(rel.Fields, func(x Field) bool { return strings.HasPrefix(x.From, roster+".") })
	}
	return found
}

// steps finds rules about people for steps that do not bind the disclosure.
func (f *finding) steps() {
	s := f.whole.steps
	if !s.Known() {
		return // Check says so
	}
	unasked := fmt.Sprintf("step 5 does not bind a disclosure to this recipient on %s", f.Basis)
	if f.People.General != "" && !s.Consent {
		f.add(DeadRule, "people.consent.general", "remove it; postern policy explain --applies shows the steps", "%s, so the rule decides nothing", unasked)
	}
	if f.People.Minors != "" && !s.Consent && !s.Part2 {
		f.add(DeadRule, "people.consent.minors", "remove it; postern policy explain --applies shows the steps", "%s, so the rules for minors decide nothing", unasked)
	}
	if f.People.General == PermitWithout && s.Authorization {
		f.add(Gap, "people.consent.general", "write without_directive: deny", "%s lets nothing leave without the person's authorization, whatever the policy says", f.Basis)
	}
}

// part2 finds what is prepared for records of substance use programs that
// cannot leave, or need nothing.
func (f *finding) part2() {
	accepts, names, out := len(f.People.AcceptForms) > 0, len(f.People.Grounds) > 0, f.whole.leavesPart2Out()
	const forms = "people.consent.part2.accept_forms"
	if names && out {
		f.add(Gap, groundsPath, "remove the grounds, or let the rows leave", "grounds are named, and the rows of Part 2 programs are left out whatever they say")
	}
	switch {
	case accepts && out:
		f.add(Gap, forms, "remove the forms, or let the rows leave", "forms of consent are accepted, and the rows of Part 2 programs are left out whatever was signed")
	case accepts && !f.whole.steps.Part2:
		f.add(DeadRule, forms, "remove them", "Part 2 does not bind de-identified data, so no form is asked for")
	case f.Notices.Part2 != "" && (out || !accepts):
		f.add(DeadRule, "notices.part2", "remove it, or accept a form of consent", "no record of a Part 2 program leaves with consent, so the notice goes with none")
	}
}

// valueSets finds included files that nothing uses, and codes in them that
// others hide.
func (f *finding) valueSets() {
	used := map[string]bool{}
	for _, v := range views(f.Policy, f.env) {
		for _, c := range v.only {
			for _, name := range strings.Split(c.ValueSet, ", ") {
				used[name] = true
			}
		}
	}
	for _, rel := range f.Release {
		for _, x := range rel.Fields {
			used[x.To] = used[x.To] || f.Words(&x) != nil
		}
	}
	for _, t := range f.Tables {
		for _, d := range t.By {
			used[d.Coarsen] = true
		}
	}
	for _, name := range sortedNames(f.ValueSets) {
		path := strictyaml.Join("include", name)
		if !used[name] {
			f.add(DeadRule, path, "remove it, or use it with {in: "+name+"}", "nothing uses the included file; it can only stop the exchange when it is out of date")
		}
		f.hidden(path, at(f.ValueSets[name]).Codes)
	}
}

// totals finds totals over what is the same in every row.
func (f *finding) totals() {
	for i, t := range f.Totals {
		for j := range f.Release {
			if x := f.Release[j].Field(t.Column); x != nil && x.Do == Constant {
				f.add(DeadRule, fmt.Sprintf("totals[%d]", i), "write rows instead", "%s is the same in every row, so the total tells only how many rows there are", t.Column)
			}
		}
	}
}

// choices finds the types of a FHIR choice (R4 §2.24.0.2) that are released and
// that no column of the layout takes: of a record with one of them the cell is
// empty.
func (f *finding) choices() {
	for _, rel := range f.Release {
		for _, x := range rel.Fields {
			at := strings.Count(x.Name, ".")
			if f.Layout == nil || !strings.HasSuffix(x.Name, "[x]") {
				continue
			}
			var taken, left []string
			for _, c := range f.Layout.File(rel.Dataset).Columns {
				if c.From == x.Name {
					taken = append(taken, c.Leaf.Path[at])
				}
			}
			for _, leaf := range x.Leaves {
				if name := leaf.Path[at]; !slices.Contains(taken, name) && !slices.Contains(left, name) {
					left = append(left, name)
				}
			}
			if left != nil {
				f.add(Gap, strictyaml.Join("release."+rel.Dataset+".fields", x.Name), "release the types that you mean in the place of "+x.Name+", or give the others columns",
					"no column of the layout takes %s, so of records with such a value the cell stays empty", page.Or(left))
			}
		}
	}
}
