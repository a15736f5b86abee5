package explain

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// delivery says in which form a release leaves, and what is kept of it.
func (e *explaining) delivery() {
	e.section("In which form")
	o := &e.Output
	text := layoutWords(o.Layout)
	if e.Layout != nil {
		text = "the recipient's own layout, " + e.Layout.Title
	}
	if o.Also != "" {
		text += ", and also " + layoutWords(o.Also)
	}
	e.say("It leaves as "+text+".", "output.layout", "output.also")
	e.layout()
	e.say(modeWords[o.Mode], "output.mode")
	if o.Shuffle == "people" {
		e.say("People stand in a random order.", "output.shuffle")
	}
	if e.ReleasesPart2() {
		switch o.Part2Rows {
		case "own-file":
			e.say("Records of substance use programs have a file of their own, which is always there, empty or not.", "output.part2_rows")
		case "same-file":
			e.say("Records of substance use programs stand among the others.", "output.part2_rows")
		}
	}
	e.notices()
	e.totals()
	e.say("It is encrypted to the recipient and signed by us.", everyPolicy)
	e.say(fmt.Sprintf("We keep an encrypted copy for %s.", span(e.Keep.SealedDrop)), "keep.sealed_drop")
}

// layout says which rows and columns a layout makes that a reader would not
// expect of its fields.
func (e *explaining) layout() {
	if e.Layout == nil {
		return
	}
	for _, f := range e.Layout.Files {
		if f.Per != nil {
			e.say(fmt.Sprintf("Each %s of %s makes a row of its own.", strings.Join(f.Per, "."), f.Dataset), "output.layout")
		}
		var bound []string
		for _, c := range f.Columns {
			if c.When != nil {
				bound = append(bound, fmt.Sprintf("%s where %s is %s", c.Name, c.When.From, c.When.Value))
			}
		}
		if bound != nil {
			e.say(fmt.Sprintf("Columns of %s hold a value in some rows only: %s.", f.Dataset, page.And(bound)), "output.layout")
		}
	}
	if e.Layout.Control != nil {
		text := "A control file lists the files"
		if e.ReleasesPart2() {
			text += "; those with records of substance use programs have one of their own"
		}
		e.say(text+".", "output.layout")
	}
}

func layoutWords(layout string) string {
	switch layout {
	case "csv":
		return "tables, one for each kind of record (CSV)"
	case "ndjson":
		return "FHIR resources, one a line (NDJSON)"
	}
	return "the layout " + layout
}

var modeWords = map[string]string{
	"full":  "Each delivery holds anew everything that may leave at that time.",
	"delta": "Each delivery holds what was added, changed or voided since the last.",
}

func (e *explaining) notices() {
	if e.Notices.Part2 != "" {
		e.say("With them goes the notice that is written in "+e.Notices.Part2+" (42 CFR 2.32).", "notices.part2")
	}
	if e.Notices.ScopeOfConsent != "" {
		e.say("Each of these records tells the scope of the consent that it rests on.", "notices.scope_of_consent")
	}
}

func (e *explaining) totals() {
	var words []string
	for _, t := range e.Totals {
		words = append(words, map[string]string{"people": "people", "rows": "rows", "sum": "the sum of " + t.Column, "rows-by": "rows by " + t.Column}[t.Kind])
	}
	if len(words) > 0 {
		e.say("It states control totals of what it holds: "+page.And(words)+".", each("totals", len(words))...)
	}
}

// stops says what keeps a delivery from leaving.
func (e *explaining) stops() {
	e.section("What stops it")
	a := &e.Agreement
	switch {
	case !e.endless():
		e.item("The agreement ends: after "+e.day("agreement.to", a.To)+".", "agreement.to")
	case a.ReviewBy != extract.NoDay:
		e.item("The agreement was not reviewed in time: after "+e.day("agreement.review_by", a.ReviewBy)+".", "agreement.to", "agreement.review_by")
	}
	if t := e.Attest; t != nil {
		const at = "attest.actual_knowledge.review_by"
		e.item("The statement that nobody can be recognized was not renewed: after "+e.day(at, t.ReviewBy)+".", at)
	}
	if c := e.Certificate; c != nil {
		e.item("The expert's determination ends: after "+e.day("certificate.expires", c.Expires)+".", "certificate.expires")
	}
	for _, name := range slices.Sorted(maps.Keys(e.ValueSets)) {
		if s, at := e.ValueSets[name], strictyaml.Join("include", name); s != nil && s.To != extract.NoDay {
			e.item("The list of codes "+name+" is no longer in force: after "+e.day(at, s.To)+".", at)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(e.Inputs)) {
		g, at := e.Inputs[name], strictyaml.Join("inputs", name)
		e.item(fmt.Sprintf("The file %s is missing, has an error, is older than %s, or has lost %s since it was last read.",
			inputName(name, e.env.Inputs[name].Kind), span(g.MaxAge), lossOf(g.ShrinkLimit)), at+".max_age", at+".shrink_limit")
	}
	if share := e.Tolerate.Rejected; share > 0 {
		e.item("More than "+percent(share)+" of the records in our extract cannot be used.", "tolerate.rejected")
	} else {
		e.item("A single record in our extract cannot be used.", "tolerate.rejected")
	}
	e.item("The records do not add up: each must be released or kept here, for a reason.", everyPolicy)
	e.item("The last look at what is about to be sent finds something that may not be there.", everyPolicy)
	e.item("Our approvers have not signed everything that it stands on, as it is now.", everyPolicy)
	e.item("Anybody at the clinic puts the exchange on hold.", everyPolicy)
}

func lossOf(limit float64) string {
	if limit == 0 {
		return "any of its rows"
	}
	return "more than " + percent(limit) + " of its rows"
}
