package policies

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
)

// Fact is one line of a situation.
type Fact struct {
	Dimension string `json:"dimension"` // decided-on, dates, value:PATH, people, standing:ROSTER, age:INPUT, gone:INPUT, rejected, group, derivable, audit
	Value     string `json:"value"`
	Says      string `json:"says"`
	quiet     bool   // as it is on most days
}

// Facts are what a situation holds of the dimensions that either policy asks
// about.
func (s *Situation) Facts() (list []Fact) {
	add := func(dimension, value, format string, args ...any) {
		list = append(list, Fact{dimension, value, fmt.Sprintf(format, args...), value == "0" || value == "1h0m0s"})
	}
	add("dataset", s.Dataset, "a record of %s", s.Dataset)
	for _, dimension := range s.asked {
		what, which, _ := strings.Cut(dimension, ":")
		switch what {
		case dimDay:
			add(what, s.DecidedOn.String(), "the run decides on %s", s.DecidedOn)
		case dimDates:
			list = append(list, s.dateFacts()...)
		case dimValue:
			add(dimension, s.Values[which], "%s is %s", which, quoted(s.Values[which]))
		case dimPeople:
			list = append(list, s.peopleFacts()...)
		case dimStanding:
			add(dimension, s.Standing[which], "in the roster %s the person is %s", which, standingWords[s.Standing[which]])
		case dimAge:
			add(dimension, s.Age[which].String(), "%s is %s old", which, daysAndHours(s.Age[which]))
		case dimGone:
			add(dimension, decimal(s.Gone[which]), "%s%% of the rows of %s are gone", decimal(100*s.Gone[which]), which)
		case dimRejected:
			add(what, decimal(s.Rejected), "%s%% of the records are rejected", decimal(100*s.Rejected))
		case dimGroup:
			add("group-old", strconv.Itoa(s.GroupOld), "the old policy counts a group of %d people", s.GroupOld)
			add("group-new", strconv.Itoa(s.GroupNew), "the new policy counts a group of %d people", s.GroupNew)
		case dimDerivable:
			add(what, s.derivable(), "a suppressed number can be worked out: %s", s.derivable())
		case dimAudit:
			add(what, strconv.FormatBool(!s.AuditFailed), "the audit passes: %t", !s.AuditFailed)
		}
	}
	return list
}

func (s *Situation) dateFacts() []Fact {
	list := []Fact{{"as-of", s.AsOf.String(), "as of " + s.AsOf.String(), false}}
	for _, path := range sortedNames(s.Dates) {
		list = append(list, Fact{"date:" + path, s.Dates[path].String(), path + " is " + dayOrNone(s.Dates[path]), false})
	}
	for _, definition := range sortedNames(s.Index) {
		list = append(list, Fact{"index:" + definition, s.Index[definition].String(),
			"the person's index date (" + definition + ") is " + dayOrNone(s.Index[definition]), false})
	}
	return list
}

func dayOrNone(day extract.Day) string {
	if day == extract.NoDay {
		return "missing"
	}
	return day.String()
}

func (s *Situation) peopleFacts() (list []Fact) {
	say := func(dimension, value, says string) { list = append(list, Fact{dimension, value, says, false}) }
	say("part2", strconv.FormatBool(s.Part2), map[bool]string{true: "the record is under 42 CFR Part 2", false: "the record is not under 42 CFR Part 2"}[s.Part2])
	say("directive", s.Directive, directiveWords[s.Directive])
	if s.Part2Form != "" {
		say("part2-form", s.Part2Form, "the person has signed a consent for Part 2 on the form "+s.Part2Form)
	}
	if s.OptedOut {
		say("opted-out", "true", "the person has opted out of registries")
	}
	if s.Restriction != "" {
		say("restriction", s.Restriction, restrictionWords[s.Restriction])
	}
	if s.Minor != "" {
		says := s.Minor
		if s.minor.majority == 0 {
			says = "a minor controls the record under the rules of " + s.Minor
		}
		say("minor", s.Minor, says)
	}
	return list
}

var (
	directiveWords = map[string]string{
		"": "the person has given no directive", given: "the person permits it",
		refused: "the person denies it", unsure: "the person's directive cannot be read",
		changed: "the person denied it and later permitted it",
	}
	restrictionWords = map[string]string{
		selfPay: "the person paid for the service and forbade that the plan learns of it",
		agreed:  "the clinic has agreed with the person to keep the record from the recipient",
	}
	standingWords = map[string]string{
		atService: "covered on the day of service", inPeriod: "covered in the period, and not on the day of service",
		ambiguous: "not to be told from another member", noMember: "not a member",
	}
)

func (s *Situation) derivable() string {
	switch s.Derivable {
	case "":
		return "no"
	case earlierDrops:
		return fmt.Sprintf("from a drop %d years back", s.YearsBack)
	}
	return "from " + s.Derivable
}

// quoted is a value of a policy's own, in quotes where it is none that people write.
func quoted(value string) string {
	switch {
	case value == "":
		return "missing"
	case strconv.Quote(value) != `"`+value+`"`:
		return strconv.Quote(value)
	}
	return value
}

func decimal(x float64) string { return strconv.FormatFloat(x, 'g', 6, 64) }

func daysAndHours(d time.Duration) string {
	days, rest := d/(24*time.Hour), strings.TrimSuffix((d%(24*time.Hour)).String(), "0m0s")
	return strings.TrimSuffix(fmt.Sprintf("%d days and %s", days, rest), " and 0s")
}

// MarshalJSON gives the facts.
func (s *Situation) MarshalJSON() ([]byte, error) { return json.Marshal(s.Facts()) }

func (p *Policy) title() string { return fmt.Sprintf("%s, version %d", p.Name, p.Version) }

// change is a change of this view, still without the sentence that says it.
func (v *view) change(kind string, s *Situation, fields ...string) Change {
	return Change{Kind: kind, Dataset: v.name, Fields: fields, Situation: s}
}

// said puts each change into words; verb is leaves or stays, of the policy whose
// recipient and purpose are meant.
func said(changes []Change, verb string, of *Policy) []Change {
	for i := range changes {
		c := &changes[i]
		named := c.Dataset
		if len(c.Fields) > 0 {
			named = strings.Join(c.Fields, ", ") + " of " + c.Dataset
		}
		switch c.Kind {
		case NewRecipient:
			c.Says = fmt.Sprintf("%s %s, to the recipient %s", named, verb, of.Recipient)
		case NewPurpose:
			c.Says = fmt.Sprintf("%s %s, for the purpose %s", named, verb, of.Purpose)
		case NewForm:
			c.Says = fmt.Sprintf("%s %s in a form that tells what its other form does not", named, verb)
		case NewPopulation:
			what, which, _ := strings.Cut(c.Dimension, ":")
			c.Says = fmt.Sprintf("more of %s %s, by %s", named, verb, strings.TrimSpace(dimensionWords[what]+" "+which))
		default:
			c.Says = named + " " + verb
		}
	}
	return changes
}

// dimensionWords say what makes the difference for a population.
var dimensionWords = map[string]string{
	dimDay: "the day of the run", dimDates: "their dates", dimValue: "the value of", dimPeople: "what the person decided",
	dimStanding: "the standing in the roster", dimAge: "the age of", dimGone: "the rows gone from",
	dimRejected: "the share of rejected records", dimGroup: "the size of groups",
	dimDerivable: "what numbers can be worked out", dimAudit: "the audit",
}

// String prints the comparison for people.
func (c *Comparison) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "old: %s\nnew: %s\n", c.Old, c.New)
	printChanges(&b, "\nNewly leaves", c.Widens)
	printChanges(&b, "\nNewly stays", c.Narrows)
	b.WriteString("\nAlso changed\n")
	if len(c.Also) == 0 {
		b.WriteString("  nothing\n")
	}
	for _, line := range c.Also {
		b.WriteString("  " + line + "\n")
	}
	return b.String()
}

func printChanges(b *strings.Builder, title string, changes []Change) {
	b.WriteString(title + "\n")
	if len(changes) == 0 {
		b.WriteString("  nothing\n")
	}
	for i, c := range changes {
		b.WriteString("  " + c.Says + "\n")
		if i+1 < len(changes) && changes[i+1].Situation == c.Situation {
			continue // one example for both
		}
		b.WriteString("    for example:\n")
		for _, f := range c.Situation.Facts() {
			if !f.quiet {
				b.WriteString("      " + f.Says + "\n")
			}
		}
	}
}

// says is what a condition asks, in one way for sets that are alike.
func (c *Condition) says() string {
	switch {
	case c.Period != "":
		return c.Period
	case c.Range != nil:
		return decimal(c.Range.Min) + ".." + decimal(c.Range.Max)
	}
	var parts []string
	for _, s := range c.Codes.spans {
		parts = append(parts, s.says())
	}
	return strings.Join(slices.Compact(parts), " ")
}
