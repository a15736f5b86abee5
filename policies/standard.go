package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// paragraph is one identifier of 45 CFR 164.514(b)(2)(i) with the classes that
// hold it. Classes in no paragraph identify nobody by themselves.
type paragraph struct {
	letter, title string
	classes       []extract.Class
}

// paragraphs are the identifiers in the order of the law, and last the fields
// that may hold any of them.
var paragraphs = []paragraph{
	{"(A)", "names", []extract.Class{extract.Name}},
	{"(B)", "places below a state", []extract.Class{extract.Geography, extract.Town, extract.Postcode}},
	{"(C)", "dates and ages", []extract.Class{extract.Date, extract.BirthDate, extract.DeathDate, extract.AgeYears}},
	{"(D)", "telephone numbers", []extract.Class{extract.Phone}},
	{"(E)", "fax numbers", []extract.Class{extract.Fax}},
	{"(F)", "e-mail addresses", []extract.Class{extract.Email}},
	{"(G)", "social security numbers", []extract.Class{extract.SSN}},
	{"(H)", "medical record numbers", []extract.Class{extract.RecordNumber}},
	{"(I)", "health plan numbers", []extract.Class{extract.MemberNumber}},
	{"(J)", "account numbers", []extract.Class{extract.Account}},
	{"(K)", "certificates and licences", []extract.Class{extract.Licence}},
	{"(L)", "vehicles", []extract.Class{extract.Vehicle}},
	{"(M)", "devices", []extract.Class{extract.DeviceSerial}},
	{"(N)", "web addresses", []extract.Class{extract.WebAddress}},
	{"(O)", "network addresses", []extract.Class{extract.NetworkAddress}},
	{"(P)", "biometric identifiers", []extract.Class{extract.Biometric}},
	{"(Q)", "photographs", []extract.Class{extract.Photograph}},
	{"(R)", "other unique numbers and codes", []extract.Class{extract.OtherUnique, extract.SubjectKey, extract.RecordKey, extract.Link, extract.ProviderKey}},
	{"", "text and what has no class", []extract.Class{extract.FreeText, extract.Unclassed}},
}

// identifier gives the paragraph that a class falls under, (A)-(R) for one that
// may hold anything; ok is false for a class that identifies nobody by itself.
func identifier(class extract.Class) (letter string, ok bool) {
	for _, p := range paragraphs {
		if slices.Contains(p.classes, class) {
			return cmp.Or(p.letter, "(A)-(R)"), true
		}
	}
	return "", false
}

const leaveOut = "leave the field out"

// harbor says with which transforms an identifier may leave under Safe Harbor,
// and what to write instead of another. Those without an entry never leave.
var harbor = map[extract.Class]struct {
	permits []Transform
	instead string
}{
	extract.Town:         {nil, "release the state, or do: zip3 of the postal code"},
	extract.Geography:    {nil, "release the state, or do: zip3 of the postal code"},
	extract.Postcode:     {[]Transform{ZIP3}, "write do: zip3"},
	extract.Date:         {[]Transform{Year, RelativeTime}, "write do: year, or in a delimited dataset with a cohort do: relative-time"},
	extract.BirthDate:    {[]Transform{Year, AgeBand}, "write do: year, or in a delimited dataset do: age-band"},
	extract.DeathDate:    {[]Transform{Year}, "write do: year"},
	extract.AgeYears:     {[]Transform{AgeBand}, "write do: age-band with top: 90+"},
	extract.RecordNumber: {nil, "release the patient's own code instead: do: code on the subject"},
	extract.MemberNumber: {nil, "release the patient's own code instead: do: code on the subject"},
	extract.SubjectKey:   {[]Transform{CodePerson}, "write do: code"},
	extract.Link:         {[]Transform{CodePerson}, "write do: code where it points to the patient, else leave the field out"},
	extract.ProviderKey:  {nil, leaveOut + "; a provider's number also leads to a place below the state (B)"},
	extract.FreeText:     {nil, leaveOut + "; text may hold any identifier"},
}

// sources are the classes that a transform can be applied to at all; keep can
// be applied to every class.
var sources = map[Transform][]extract.Class{
	CodePerson:   {extract.SubjectKey, extract.Link},
	Year:         {extract.Date, extract.BirthDate, extract.DeathDate},
	AgeBand:      {extract.BirthDate, extract.AgeYears},
	ZIP3:         {extract.Postcode},
	RelativeTime: {extract.Date},
}

// Permits tells whether a value of the class may leave under the standard when
// the transform is applied to it.
func Permits(std Standard, class extract.Class, do Transform) bool {
	why, _ := refusal(std, class, do)
	return why == ""
}

// refusal says why a value of the class may not leave so, and what to write
// instead; why is "" when it may.
func refusal(std Standard, class extract.Class, do Transform) (why, instead string) {
	if classes, bound := sources[do]; bound && !slices.Contains(classes, class) {
		return fmt.Sprintf("do: %s cannot be applied to a %s", do, class), transformsFor(std, class)
	}
	letter, identifies := identifier(class)
	switch {
	case class == extract.Unclassed:
		return "what has no class never leaves", "give the column a class in its schema"
	case std == SafeHarbor && identifies && !slices.Contains(harbor[class].permits, do):
		return fmt.Sprintf("Safe Harbor does not let a %s leave with do: %s (45 CFR 164.514(b)(2)(i)%s)", class, do, letter), cmp.Or(harbor[class].instead, leaveOut)
	case std != SafeHarbor && std != Identified:
		return fmt.Sprintf("the standard %q is %s", std, ErrNotInThisVersion), "use identified or safe-harbor"
	}
	return "", ""
}

func transformsFor(std Standard, class extract.Class) string {
	var fit []string
	for _, do := range []Transform{Keep, CodePerson, Year, AgeBand, ZIP3, RelativeTime} {
		if classes, bound := sources[do]; bound && !slices.Contains(classes, class) {
			continue
		}
		if Permits(std, class, do) {
			fit = append(fit, "do: "+string(do))
		}
	}
	if len(fit) == 0 {
		return leaveOut
	}
	return "write " + strings.Join(fit, " or ")
}

// standard checks what the standard asks of the policy as a whole.
func (r *reading) standard() {
	p := r.policy
	if p.Standard == "" {
		return
	}
	r.ground()
	switch p.Standard {
	case Identified:
		r.identified()
	case SafeHarbor:
		r.safeHarbor()
	}
	for i := range p.Release {
		if typ := resourceType(p.Release[i].Dataset); typ != nil {
			r.fhir(&p.Release[i])
		}
	}
}

func (r *reading) ground() {
	p := r.policy
	g, ok := groundOf(p.Basis)
	switch {
	case !r.source.Has("basis"):
		return
	case !ok:
		r.add("basis", "known are "+strings.Join(groundNames(p.Standard), ", "), "%q is no legal basis that Postern knows", p.Basis)
	case g.standard != p.Standard:
		r.add("basis", "for "+string(p.Standard)+" known are "+strings.Join(groundNames(p.Standard), ", "), "%s is no basis for the standard %s", p.Basis, p.Standard)
	case g.purpose != nil && KnownPurpose(p.Purpose) && !slices.ContainsFunc(g.purpose, func(w string) bool { return PurposeWithin(p.Purpose, w) }):
		r.add("purpose", "choose a purpose within "+strings.Join(g.purpose, ", ")+", or another basis", "%s does not cover the purpose %s", p.Basis, p.Purpose)
	case g.relationship && p.People.Roster == "" && !r.source.Has("people.relationship.roster"):
		r.add("people.relationship", "add relationship: {roster: NAME, covered: at-service}", "%s needs a relationship of the recipient with each person", p.Basis)
	case g.permission && p.People.General == PermitWithout:
		r.add("people.consent.general.without_directive", "write without_directive: deny", "%s lets nothing leave without the person's authorization", p.Basis)
	}
}

func (r *reading) identified() {
	p := r.policy
	if p.People.General == "" && !r.source.Has("people.consent.general") {
		r.add("people.consent.general", "add people: consent: general: {without_directive: permit} or deny", "an identified release says what holds for people without a directive")
	}
	r.must(false, "attest", "remove attest:", "an attestation of actual knowledge belongs to safe-harbor")
	if p.Output.Part2Rows == "" && !r.source.Has("output.part2_rows") {
		p.Output.Part2Rows = "own-file"
	}
	if p.ReleasesPart2() && !r.source.Has("notices.part2") {
		r.add("notices.part2", "name the file with the officer's notice, or write output: {part2_rows: leave-out}",
			"Part 2 records that leave with consent carry a notice (42 CFR 2.32)")
	}
}

// ReleasesPart2 tells whether records of a Part 2 program can leave under the
// policy: only where it accepts a form of consent for them.
func (p *Policy) ReleasesPart2() bool {
	return p.Standard == Identified && len(p.People.AcceptForms) > 0 && p.Output.Part2Rows != "leave-out" && !p.People.Part2LeaveOut
}

func (r *reading) safeHarbor() {
	p := r.policy
	if p.Attest == nil && !r.source.Has("attest.actual_knowledge") {
		r.add("attest.actual_knowledge", "add attest: actual_knowledge: {none_known: true, by: …, on: …, review_by: …}",
			"Safe Harbor needs the officer's dated statement that nothing else is known to identify a person (45 CFR 164.514(b)(2)(ii))")
	}
	for path, instead := range map[string]string{
		"people.relationship": "remove it; a clinic may leave people out under people.clinic_choice",
		"people.consent":      "remove it; a clinic may leave people out under people.clinic_choice",
		"notices":             "remove it",
		"output.part2_rows":   "remove it; a clinic may leave Part 2 records out under people.clinic_choice",
	} {
		r.must(false, path, instead, "does not apply to de-identified data (45 CFR 164.502(d))")
	}
	if p.Output.RowKey {
		r.add("output.row_key", "remove row_key:", "a row key is another unique code of a record (45 CFR 164.514(b)(2)(i)(R))")
	}
	intervals := ""
	for _, rel := range p.Release {
		for _, f := range rel.Fields {
			if f.Do == RelativeTime {
				intervals = f.Name
			}
		}
	}
	for i, rel := range p.Release {
		r.harborPeriods(r.file.Release[i].Path, rel)
		for _, f := range rel.Fields {
			r.harborField(strictyaml.Join(r.file.Release[i].Path+".fields", f.Name), f, intervals)
		}
	}
}

// harborPeriods refuses periods that tell a date finer than its year, and
// years that are not over: the difference of two drops would tell the date.
func (r *reading) harborPeriods(path string, rel Release) {
	for _, c := range rel.Only {
		at := strictyaml.Join(path+".only", c.Path)
		if c.Period != "" && !wholeYears(c.Period) {
			r.add(at, "write last-closed-year, or a range of whole past years such as 2024-01-01..2024-12-31",
				"the period %s tells a date finer than a calendar year that is over (45 CFR 164.514(b)(2)(i)(C))", c.Period)
		}
	}
}

func wholeYears(period string) bool {
	first, last, ok := ClosedRange(period)
	return period == LastClosedYear ||
		ok && strings.HasSuffix(first.String(), "-01-01") && strings.HasSuffix(last.String(), "-12-31")
}

func (r *reading) harborField(path string, f Field, intervals string) {
	if r.isLookUp(f.From) {
		r.add(path+".from", "remove the field; do: code gives the rows of one person a common code",
			"a look-up in a roster gives a member's own number (45 CFR 164.514(b)(2)(i)(I))")
	}
	if intervals != "" && f.Do == Year && f.From != FromIndex {
		r.add(path+".do", "remove the field, or release do: age-band at: index; only {from: index, do: year} may stand beside intervals",
			"beside the intervals of %q the year of another event tells its date more finely (45 CFR 164.514(b)(2)(i)(C))", intervals)
	}
}

// conditionRefusal refuses conditions on what selects people by an identifier:
// what was selected is known to whoever reads the policy (LAW: the selection
// reveals as much as a field). why is "" when nothing is against it.
func conditionRefusal(std Standard, c Condition, class extract.Class) (why, hint string) {
	letter, identifies := identifier(class)
	switch {
	case c.Period != "" && class != extract.Date:
		return "a period is compared with the date of an event, and this is none", "write it at date:"
	case c.Period == "" && class == extract.Date:
		return "a date is compared with a period", "write last-closed-year, or 2026-01-01..2026-12-31"
	case c.Period == "" && std == SafeHarbor && identifies:
		return "what is selected by a " + class.String() + " tells of it (45 CFR 164.514(b)(2)(i)" + letter + ")", "select by codes, status or state"
	case c.Period == "" && (class == extract.FreeText || class == extract.Unclassed):
		return "a condition compares codes, and this is free text or of no one value", "name the code in it"
	}
	return "", ""
}

// needed notes the protective inputs that a release cannot do without.
func (c *checking) needed(kinds map[string]bool) {
	need := func(kind, why string) {
		if !kinds[kind] {
			c.add("inputs", "add the input that holds the "+kind+", with max_age and shrink_limit", "%s, and no input of kind %s is named", why, kind)
		}
	}
	if c.Standard == Identified {
		need("consents", "an identified release reads consents and denials")
	}
	if c.Standard == Identified && c.env.Recipients[c.Recipient] == "health-plan" {
		need("restrictions", "a patient who paid out of pocket may restrict what a health plan learns (45 CFR 164.522(a)(1)(vi))")
	}
	if c.People.RegistryOptOut {
		need("consents", "people.clinic_choice leaves out who opted out of registries")
	}
}
