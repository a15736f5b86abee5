package agent

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/explain"
)

// Page is the answer in plain English, for the officer to read or to print.
func (a *PatientAnswer) Page() *explain.Page {
	p := &patientPage{PatientAnswer: a, page: &explain.Page{Policy: a.Policy, Version: a.Version, SHA256: a.SHA256,
		Title: "What " + a.recipient + " would get about " + plainText(a.Subject)}}
	p.section("In short")
	if p.say("This is for the person at the clinic who answers the patient, and stays here."); !a.Known {
		p.say("Nothing is known under this id: no record of the extract and no list of the clinic names it. Ids are compared letter by letter, and capitals count.")
		return p.page
	}
	p.inShort()
	p.kinds("What would leave", "Nothing would leave.", extract.Released)
	p.kinds("What would stay, and why", "Nothing that is asked for would stay.", extract.Withheld, extract.Suppressed)
	p.kinds("What is not asked for, or cannot be used", "There is nothing else.", extract.OutOfScope, extract.Rejected, extract.Duplicate)
	p.papers()
	p.coverage()
	p.changes()
	p.clocks()
	return p.page
}

type patientPage struct {
	*PatientAnswer
	page *explain.Page
}

func (p *patientPage) section(heading string) {
	p.page.Sections = append(p.page.Sections, explain.Section{Heading: heading})
}

func (p *patientPage) say(text string)  { p.add(explain.Sentence{Text: text}) }
func (p *patientPage) item(text string) { p.add(explain.Sentence{Text: text, Item: true}) }

func (p *patientPage) add(s explain.Sentence) {
	last := &p.page.Sections[len(p.page.Sections)-1]
	last.Sentences = append(last.Sentences, s)
}

func (p *patientPage) inShort() {
	n := func(d extract.Disposition) int { return p.Records[d.String()] }
	total := 0
	for _, records := range p.Records {
		total += records
	}
	if p.IDs > 1 {
		p.say(fmt.Sprintf("The person is known here under %d ids, which were merged; all are looked at.", p.IDs))
	}
	p.say(fmt.Sprintf("The extract holds %s about the person. In the next delivery of %s, %d would leave, and %d would stay though they are asked for. %d are not asked for, cannot be used, or stand there twice.",
		many(total, "record"), p.Exchange, n(extract.Released), n(extract.Withheld)+n(extract.Suppressed), n(extract.OutOfScope)+n(extract.Rejected)+n(extract.Duplicate)))
	if !p.Approved {
		p.say("The exchange is not approved as it stands, and until it is, nothing leaves at all.")
	}
}

// kinds tells of the records with some outcomes, those with the same reasons
// together.
func (p *patientPage) kinds(heading, none string, outcomes ...extract.Disposition) {
	p.section(heading)
	var last []string
	section := &p.page.Sections[len(p.page.Sections)-1]
	for _, k := range p.Kinds {
		if !slices.ContainsFunc(outcomes, func(d extract.Disposition) bool { return d.String() == k.Outcome }) {
			continue
		}
		if n := len(section.Sentences); n > 0 && len(k.Reasons) > 0 && slices.Equal(k.Reasons, last) {
			section.Sentences[n-1].Text = strings.TrimSuffix(section.Sentences[n-1].Text, ".") + "; " + k.words() + "."
			continue
		}
		last = k.Reasons
		var why []string
		for _, r := range k.Reasons {
			why = append(why, p.why(r)+" ")
		}
		p.item(strings.Join(why, "Also: ") + k.words() + ".")
	}
	if len(section.Sentences) == 0 {
		p.say(none)
	}
}

// words name a kind of record, and how many there are.
func (k *RecordKind) words() string {
	text := many(k.Records, "record") + " of " + k.Dataset
	if k.Year > 0 {
		text += fmt.Sprintf(" from %d", k.Year)
	}
	if k.Visits > 0 {
		text += " (" + many(k.Visits, "visit") + ")"
	}
	if k.Labels != "" {
		text += ", labeled " + k.Labels
	}
	if k.Part2 {
		text += ", of a substance use program or taken to be of one (42 CFR Part 2)"
	}
	return text
}

// why is a reason as a sentence, with its law.
func (p *patientPage) why(reason string) string {
	at := slices.IndexFunc(p.Reasons, func(r ReasonAnswer) bool { return r.Reason == reason })
	c := p.Reasons[at].Claim
	switch {
	case c.By == consent.ByClinic && reason != extract.ClinicChoice.String():
		return c.Says + " HIPAA does not ask for that; the clinic does, by its policy."
	case c.Law == "":
		return c.Says
	}
	return strings.TrimSuffix(c.Says, ".") + " (law: " + c.Law + ")."
}

var (
	paperScopes = map[string]string{
		"general": "about sharing in general", "part2": "about records of substance use programs (42 CFR Part 2)", "registry-opt-out": "about registries",
		"state": "under the state's law", "research": "about research", "other": "about something else than sharing", "treatment": "about care, not about sharing",
		"self-pay": "for care that the patient paid for", "agreed": "that the clinic agreed to", "unreadable": "of which the kind cannot be told",
	}
	paperDecisions = map[string]string{"permit": "a yes", "deny": "a no", "unreadable": "a decision that cannot be understood"}
	paperStates    = map[string]string{
		"active": "in force", "pending": "not decided yet", "revoked": "taken back", "expired": "run out", "refused": "turned down", "entered-in-error": "entered by mistake",
	}
	paperSays = []struct {
		says consent.Says
		text string
	}{
		{consent.Permits, "It allows %s to leave, if nothing else keeps them back."},
		{consent.PermitsPart2, "It allows %s to leave, also those of a substance use program, if nothing else keeps them back."},
		{consent.PermitsPerhaps, "It may allow %s, but that cannot be told, so it does not count."},
		{consent.Denies, "It keeps back %s."},
		{consent.DeniesPerhaps, "It may be about %s, which cannot be told, so it keeps them back."},
		{consent.TakenBack, "It once allowed %s and was taken back, so they stay unless a newer yes allows them."},
		{consent.RunOut, "It once allowed %s and has run out."},
		{consent.Overtaken, "It once kept back %s; a newer yes took its place."},
		{consent.Nothing, "It is not about %s."},
	}
)

// papers tells of each directive and restriction, and what it did.
func (p *patientPage) papers() {
	p.section("What the patient decided")
	for _, d := range p.Papers {
		text := paperDecisions[d.Decision] + " " + paperScopes[d.Scope]
		if d.Restriction {
			text = "a restriction " + paperScopes[d.Scope]
			if len(d.Limits) > 0 {
				text += ", limited to " + page.And(d.Limits)
			}
		}
		if d.Exceptions {
			text += ", with exceptions"
		}
		for _, part := range []struct{ before, value string }{
			{"", paperStates[d.Status]}, {"signed ", d.Signed}, {"by the ", page.And(d.SignedBy)}, {"from ", d.From}, {"to ", d.To}, {"ended on ", d.Ended}, {"on the form ", strings.Join(d.Forms, " or ")},
		} {
			if part.value != "" {
				text += ", " + part.before + part.value
			}
		}
		text = sourceWords(d.Source) + ": " + text + "."
		if !d.Here {
			text += " It does not bind this recipient, or not for this purpose, or is over."
		}
		for _, s := range paperSays {
			if n := d.Says[s.says]; n > 0 && (d.Here || s.says != consent.Nothing) {
				text += " " + fmt.Sprintf(s.text, many(n, "record"))
			}
		}
		if len(d.Says) == 0 {
			text += " No record that is asked for was held against it."
		}
		p.item(text)
	}
	if len(p.Papers) == 0 {
		p.say("No decision of the patient is on file.")
	}
}

func sourceWords(source string) string {
	at := strings.LastIndexByte(source, ':')
	if at < 0 {
		return "No longer in the clinic's lists, and never ended"
	}
	return source[:at] + ", line " + source[at+1:]
}

func (p *patientPage) coverage() {
	if len(p.Coverage) == 0 {
		return
	}
	p.section("When the recipient's list shows the patient")
	for _, c := range p.Coverage {
		text := c.Roster + ": from " + c.From
		if c.To != "" {
			text += " to " + c.To
		}
		if c.Ambiguous {
			text += "; it is not clear that this is the patient, or under which id"
		}
		p.item(text + ".")
	}
}

// changes says what would have to happen for more to leave.
func (p *patientPage) changes() {
	_, purpose := policies.PurposeMeaning(p.purpose)
	words := strings.NewReplacer("this recipient and purpose", fmt.Sprintf("%s and for %s (%s)", p.recipient, purpose, p.purpose),
		"a form that the policy accepts for such records", "the form "+page.Or(p.forms))
	p.section("What would change it")
	section := &p.page.Sections[len(p.page.Sections)-1]
	for _, r := range p.Reasons {
		if r.By != consent.ByNobody && r.Mend != "" {
			p.item(words.Replace(strings.TrimSuffix(r.Says, ".") + ": " + lowerFirst(r.Mend)))
		}
	}
	if len(section.Sentences) > 1 {
		p.say("Where a record stays for several reasons, all of them would have to change.")
	}
	if len(section.Sentences) == 0 {
		p.say("Nothing keeps back what is asked for. The patient can say no at any time; that counts from the next delivery on.")
	}
}

// lowerFirst is a sentence that goes on after a colon.
func lowerFirst(s string) string { return strings.ToLower(s[:1]) + s[1:] }

func (p *patientPage) clocks() {
	p.section("By what this was decided")
	p.say(fmt.Sprintf("By policy %s, version %d. The lists and the policy hold as they are on %s. Periods and ages are those of %s.",
		p.Policy, p.Version, p.DecidedAt.Format("January 2, 2006, at 15:04 MST"), dayWords(p.AsOf)))
	p.say("All that the exchange stands on, as approvers sign it, has this SHA-256:")
	p.add(explain.Sentence{Text: p.Closure, ToCopy: true})
}

func dayWords(day string) string {
	at, _ := time.Parse(time.DateOnly, day) // as extract.Day writes it
	return at.Format("January 2, 2006")
}

// many is a number of things in words: 1 record, 2 records.
func many(n int, what string) string {
	if n != 1 {
		what += "s"
	}
	return fmt.Sprintf("%d %s", n, what)
}
