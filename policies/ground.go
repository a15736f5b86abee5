package policies

import (
	"slices"
	"strings"
)

// groundsOfAggregate are what an aggregate may stand on, which no standard of
// HIPAA says (LAW, Aggregates): the standard by which its dimensions are judged,
// and the basis it is released on.
var groundsOfAggregate = map[string]struct {
	judgedBy Standard
	basis    string
}{
	"safe-harbor-dimensions": {SafeHarbor, "45 CFR 164.502(d)"},
	"expert-determination":   {ExpertDetermination, "45 CFR 164.502(d)"},
	"contract":               {Identified, "45 CFR 164.506(c)(4)"},
}

// limitedBasis is the one on which a limited data set leaves; whatever else
// would allow it needs no limited data set.
const limitedBasis = "45 CFR 164.514(e)"

// basesOf are the legal bases that a policy of the standard may name: those of
// the table of steps.
func basesOf(std Standard) []string {
	var names []string
	for _, line := range applicability {
		name := "45 CFR " + line.Basis
		fits := slices.Contains(line.Standards, std)
		switch std {
		case LimitedDataSet:
			fits = name == limitedBasis
		case Aggregate:
			fits = name == groundsOfAggregate["contract"].basis || name == groundsOfAggregate["safe-harbor-dimensions"].basis
		}
		if fits {
			names = append(names, name)
		}
	}
	return names
}

// lineOf is a line of the table of steps for a basis; nil when it has none.
func lineOf(basis string) *Applicability {
	for i := range applicability {
		if "45 CFR "+applicability[i].Basis == basis {
			return &applicability[i]
		}
	}
	return nil
}

// standsOnBasis holds the policy against what its legal basis asks.
func (p *Policy) standsOnBasis(say saying) {
	line, known := lineOf(p.Basis), basesOf(p.Standard)
	switch {
	case p.Basis == "":
		return
	case line == nil:
		say("basis", "known are "+strings.Join(known, ", "), "%q is no legal basis that Postern knows", p.Basis)
		return
	case !slices.Contains(known, p.Basis):
		say("basis", "for "+string(p.Standard)+" known are "+strings.Join(known, ", "), "%s is no basis for the standard %s", p.Basis, p.Standard)
		return
	}
	covers := func(wider string) bool { return PurposeWithin(p.Purpose, wider) }
	if purposes := line.Steps.Purposes; purposes != nil && KnownPurpose(p.Purpose) && !slices.ContainsFunc(purposes, covers) {
		say("purpose", "choose a purpose within "+strings.Join(purposes, ", ")+", or another basis", "%s does not cover the purpose %s", p.Basis, p.Purpose)
	}
	if p.Standard == LimitedDataSet && p.Agreement.Kind != "dua" {
		say("agreement.kind", "write kind: dua, with the agreement that is one", "a limited data set leaves under a data use agreement only (45 CFR 164.514(e)(4))")
	}
	if line.Steps.Relationship && p.People.Roster == "" {
		say("people.relationship.roster", "add relationship: {roster: NAME, covered: at-service}", "%s needs a relationship of the recipient with each person", p.Basis)
	}
	if line.Steps.Authorization && p.People.General == PermitWithout {
		say("people.consent.general.without_directive", "write without_directive: deny", "%s lets nothing leave without the person's authorization", p.Basis)
	}
}

// standsOnGround holds an aggregate against the ground it names.
func (p *Policy) standsOnGround(say saying) {
	const path = "aggregate_ground"
	g, known := groundsOfAggregate[p.Ground]
	names := strings.Join(sortedNames(groundsOfAggregate), ", or ")
	switch {
	case p.Ground == "":
		say(path, "add aggregate_ground: "+names, "aggregates are no standard of HIPAA: the policy says on what ground they leave")
	case !known:
		say(path, "write "+names, "%q is no ground for aggregates", p.Ground)
	case slices.Contains(basesOf(Aggregate), p.Basis) && p.Basis != g.basis:
		say("basis", "write "+g.basis+", or another aggregate_ground", "aggregates on the ground %s leave on %s", p.Ground, g.basis)
	}
}

// reaches refuses a basis on which nothing goes to a recipient of this kind.
func (c *checking) reaches() {
	kind := c.env.Recipients[c.Recipient]
	if KnownRecipientKind(kind) && slices.Contains(basesOf(c.Standard), c.Basis) && !Applies(kind, c.Basis, c.Standard).Known() {
		c.add("basis", "postern policy explain --applies shows what may go to whom", "on %s nothing leaves to a recipient of kind %s", c.Basis, kind)
	}
}
