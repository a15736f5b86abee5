package policies

import (
	"errors"
	"slices"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// ErrNotInThisVersion is the cause of a mistake that uses a part of the policy
// language which this version of Postern loads, explains, proves and compares,
// and cannot carry out. Such a part is never ignored: the policy would promise
// what is not done.
var ErrNotInThisVersion = errors.New("cannot be carried out by this version of Postern")

// Unbuilt lists what of the policy this version cannot carry out, each with its
// place. Check refuses a policy for it unless Env.Unbuilt says otherwise.
func (p *Policy) Unbuilt() []strictyaml.Mistake {
	u := &mistakes{source: p.source, errs: &strictyaml.Errors{File: p.File}}
	say := func(is bool, path, what, instead string) {
		if is {
			u.errs.AddCause(u.source.At(path), path, what+" "+ErrNotInThisVersion.Error(), instead, ErrNotInThisVersion)
		}
	}
	say(p.Standard == Aggregate, "standard", "an aggregate", "use identified, limited-data-set, safe-harbor or expert-determination")
	say(p.Protect != nil, "protect", "disclosure control over the whole release", "remove protect:")
	say(p.People.Covered == "any-day-of-period", "people.relationship.covered", "coverage on any day of the period", "use covered: at-service")
	say(p.People.IfAmbiguous == "leave-out", "people.relationship.if_ambiguous", "leaving ambiguous members out uncounted", "use if_ambiguous: withhold")
	say(p.Output.Layout != "" && p.Layout == nil && !slices.Contains(plainLayouts, p.Output.Layout), "output.layout", "a layout without a file layouts/"+p.Output.Layout+".yaml", "write the file beside the policy, or use layout: csv or layout: ndjson")
	say(p.Output.Also != "", "output.also", "a second layout", "remove also:")
	say(p.Output.Part2Rows == "same-file", "output.part2_rows", "Part 2 rows beside others", "use part2_rows: own-file")
	return u.errs.List
}
