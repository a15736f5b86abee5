package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// form is what a standard says of each class: the identifiers it names leave
// with the transforms that are permitted for their class and never otherwise;
// all other classes may leave.
type form struct {
	name, law string // as refusals put them; the letter of the identifier follows the law
	names     []paragraph
	stays     []paragraph // for the proof: what else could identify, and may leave
	permits   map[extract.Class][]Transform
	advice    map[extract.Class]string // what to write instead, where it is not one of the permitted transforms
}

// forms are the standards that let fields out. Aggregate lets out none: see
// judgedBy for its tables. Of an expert's determination the certificate is prose,
// so nothing more leaves by it than by Safe Harbor but what DESIGN reserves to it.
var forms = map[Standard]form{
	Identified:          {name: "an identified release", law: "45 CFR 164.514(b)(2)(i)", stays: harborIdentifiers},
	LimitedDataSet:      {name: "a limited data set", law: "45 CFR 164.514(e)(2)", names: limitedIdentifiers, stays: limitedStays, permits: limitedPermits, advice: limitedAdvice},
	SafeHarbor:          {name: "Safe Harbor", law: "45 CFR 164.514(b)(2)(i)", names: harborIdentifiers, permits: harborPermits, advice: harborAdvice},
	ExpertDetermination: {name: "an expert's determination", law: "45 CFR 164.514(b)(1); (b)(2)(i)", names: harborIdentifiers, permits: expertPermits, advice: harborAdvice},
}

var harborPermits = map[extract.Class][]Transform{
	extract.Postcode:   {ZIP3, Region},
	extract.Date:       {Year, RelativeTime},
	extract.BirthDate:  {Year, AgeBand, Age},
	extract.DeathDate:  {Year},
	extract.AgeYears:   {AgeBand, Age},
	extract.SubjectKey: {CodePerson},
	extract.RecordKey:  {Ordinal},
	extract.Link:       {CodePerson, Ordinal},

	extract.OtherUnique: {Ordinal},
	extract.FreeText:    {CodeDisplay, KeepIn},
}

var expertPermits = map[extract.Class][]Transform{
	extract.Postcode:    {ZIP3, Region},
	extract.Date:        {Year, RelativeTime, ShiftDate},
	extract.BirthDate:   {Year, AgeBand, Age},
	extract.DeathDate:   {Year, ShiftDate},
	extract.AgeYears:    {AgeBand, Age},
	extract.SubjectKey:  {CodePerson, Token},
	extract.RecordKey:   {Ordinal, Token},
	extract.Link:        {CodePerson, Ordinal, Token},
	extract.ProviderKey: {Token},
	extract.OtherUnique: {Ordinal, Token},
	extract.FreeText:    {CodeDisplay, KeepIn},
}

var limitedPermits = map[extract.Class][]Transform{
	extract.SubjectKey: {CodePerson, Token},
	extract.RecordKey:  {Ordinal, Token},
	extract.Link:       {CodePerson, Ordinal, Token},

	extract.OtherUnique: {Ordinal, Token},
	extract.FreeText:    {CodeDisplay, KeepIn},
}

const leaveOut = "leave the field out"

var harborAdvice = map[extract.Class]string{
	extract.Geography:    "release the state, or do: zip3 of the postal code",
	extract.Town:         "release the state, or do: zip3 of the postal code",
	extract.Date:         "write do: year, or in a delimited dataset with a cohort do: relative-time",
	extract.BirthDate:    "write do: year, or in a delimited dataset do: age-band",
	extract.AgeYears:     "write do: age-band with top: 90+",
	extract.RecordNumber: "release the patient's own code instead: do: code on the subject",
	extract.MemberNumber: "release the patient's own code instead: do: code on the subject",
	extract.SubjectKey:   "write do: code",
	extract.RecordKey:    leaveOut,
	extract.Link:         "write do: code where it points to the patient, else leave the field out",
	extract.ProviderKey:  leaveOut + "; a provider's number also leads to a place below the state (B)",
	extract.FreeText:     leaveOut + "; text may hold any identifier",
}

var limitedAdvice = map[extract.Class]string{
	extract.Geography:    "release the town, the state or the ZIP code",
	extract.RecordNumber: "release the patient's own code instead: do: code on the subject",
	extract.MemberNumber: "release the patient's own code instead: do: code on the subject; with the number the release is identified",
	extract.SubjectKey:   "write do: code",
	extract.RecordKey:    leaveOut,
	extract.Link:         "write do: code where it points to the patient, else leave the field out",
	extract.FreeText:     leaveOut + "; text may hold any identifier",
}

// transforms are all that a field may name, in the order in which they are proposed.
var transforms = []Transform{Keep, CodePerson, Year, AgeBand, Age, ZIP3, RelativeTime, ShiftDate, Token, Ordinal, Map, Round, Region, Band, CodeDisplay, KeepIn, Constant}

// sources are the classes that a transform can be applied to at all. Any value
// can be kept, and a constant is taken from none.
var sources = map[Transform][]extract.Class{
	CodePerson:   {extract.SubjectKey, extract.Link},
	Token:        {extract.SubjectKey, extract.RecordKey, extract.Link, extract.ProviderKey, extract.OtherUnique},
	Ordinal:      {extract.RecordKey, extract.Link, extract.OtherUnique},
	Year:         {extract.Date, extract.BirthDate, extract.DeathDate},
	ShiftDate:    {extract.Date, extract.DeathDate},
	RelativeTime: {extract.Date},
	AgeBand:      {extract.BirthDate, extract.AgeYears},
	Age:          {extract.BirthDate, extract.AgeYears},
	ZIP3:         {extract.Postcode},
	Round:        {extract.Number},
	Map:          {extract.Code, extract.Sex, extract.Race, extract.Ethnicity, extract.Language, extract.State},
	Region:       {extract.State, extract.Postcode},
	Band:         {extract.Number},
	CodeDisplay:  {extract.Code, extract.Sex, extract.Race, extract.Ethnicity, extract.Language, extract.FreeText},
	KeepIn:       {extract.Code, extract.Sex, extract.Race, extract.Ethnicity, extract.Language, extract.State, extract.FreeText},
}

// reserved are the transforms that only some standards have, and why.
var reserved = map[Transform]struct {
	standards []Standard
	why       string
}{
	Token: {[]Standard{LimitedDataSet, ExpertDetermination},
		"a keyed token is derived from the patient and is no code of 45 CFR 164.514(c); it leaves in a limited data set or by an expert's determination only"},
	ShiftDate: {[]Standard{ExpertDetermination},
		"a shifted date is a date still (45 CFR 164.514(b)(2)(i)(C)) and its shift is no code of 45 CFR 164.514(c); it leaves by an expert's determination only (45 CFR 164.514(b)(1))"},
}

// Permits tells whether a value of the class may leave under the standard when
// the transform is applied to it.
func Permits(std Standard, class extract.Class, do Transform) bool {
	return slices.Contains(transforms, do) && forbids(std, class, do) == ""
}

// refusal says why a value of the class may not leave so, and what to write
// instead; why is "" when it may.
func refusal(std Standard, class extract.Class, do Transform) (why, instead string) {
	if why = forbids(std, class, do); why == "" {
		return "", ""
	}
	return why, cmp.Or(forms[std].advice[class], transformsFor(std, class))
}

// forbids says why, or "". What an identifier may not do is said before what a
// transform cannot do, so that every refusal of an identifier names its paragraph.
func forbids(std Standard, class extract.Class, do Transform) string {
	f, known := forms[std]
	keeping, bound := reserved[do]
	letter := letterOf(f.names, class)
	classes, limited := sources[do]
	switch {
	case !known:
		return fmt.Sprintf("the standard %q lets no field out", std)
	case do == Constant:
		return ""
	case class == extract.Unclassed:
		return "what has no class never leaves"
	case bound && !slices.Contains(keeping.standards, std) && slices.Contains(classes, class):
		return keeping.why
	case letter != "" && !slices.Contains(f.permits[class], do):
		return fmt.Sprintf("%s does not let %s leave with do: %s (%s%s)", f.name, a(class), do, f.law, letter)
	case limited && !slices.Contains(classes, class):
		return fmt.Sprintf("do: %s cannot be applied to %s", do, a(class))
	}
	return ""
}

// a is the name of a class with its article.
func a(class extract.Class) string {
	name := class.String()
	if strings.ContainsRune("aeio", rune(name[0])) || class == extract.SSN {
		return "an " + name
	}
	return "a " + name
}

func transformsFor(std Standard, class extract.Class) string {
	var fit []string
	for _, do := range transforms {
		if do != Constant && Permits(std, class, do) {
			fit = append(fit, "do: "+string(do))
		}
	}
	if len(fit) == 0 {
		return leaveOut
	}
	return "write " + strings.Join(fit, " or ")
}

// judgedBy is the standard by whose classes a policy is judged: its own, or
// that of the ground on which an aggregate stands, Safe Harbor's where it names
// none.
func (p *Policy) judgedBy() Standard {
	if p.Standard != Aggregate {
		return p.Standard
	}
	return cmp.Or(groundsOfAggregate[p.Ground].judgedBy, SafeHarbor)
}

// StaysProtected tells whether what leaves is protected health information
// still: then consent, restrictions and Part 2 bind it.
func (p *Policy) StaysProtected() bool {
	std := p.judgedBy()
	return std == Identified || std == LimitedDataSet
}

// ReleasesPart2 tells whether records of a Part 2 program can leave under the
// policy: only where it accepts a form of consent for them, or names a ground.
func (p *Policy) ReleasesPart2() bool {
	return p.StaysProtected() && len(p.People.AcceptForms)+len(p.People.Grounds) > 0 && p.Output.Part2Rows != "leave-out" && !p.People.Part2LeaveOut
}

// conditionRefusal refuses conditions on what selects people by an identifier:
// what was selected is known to whoever reads the policy (LAW: the selection
// reveals as much as a field). why is "" when nothing is against it.
func conditionRefusal(std Standard, c Condition, class extract.Class) (why, hint string) {
	f := forms[std]
	letter := letterOf(f.names, class)
	switch {
	case c.Period != "" && class != extract.Date:
		return "a period is compared with the date of an event, and this is none", "write it at date:"
	case c.Period == "" && class == extract.Date:
		return "a date is compared with a period", "write last-closed-year, or 2026-01-01..2026-12-31"
	case c.Period == "" && letter != "":
		return fmt.Sprintf("what is selected by %s tells of it (%s%s)", a(class), f.law, letter), "select by codes, status or state"
	case c.Period == "" && (class == extract.FreeText || class == extract.Unclassed):
		return "a condition compares codes, and this is free text or of no one value", "name the code in it"
	}
	return "", ""
}
