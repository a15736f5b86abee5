package policies

import (
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// dates refuses what tells when something happened more finely than the
// standard allows: by the period, or by what one drop adds to the last.
func (c *checking) dates(path string, rel *Release, typ *extract.TypeDef, schema *extract.Schema) {
	if c.Standard == SafeHarbor {
		c.closedCohort(path, rel, typ, schema)
	}
}

// closedCohort refuses a Safe Harbor release that goes on: what one drop adds
// to the last would tell when it happened.
func (c *checking) closedCohort(path string, rel *Release, typ *extract.TypeDef, schema *extract.Schema) {
	dated := typ == nil && (find(schema, withRole(extract.RoleDate)) != nil || find(schema, withClass(extract.Date)) != nil) ||
		typ != nil && typ.Name != "Patient" && len(extract.Compartment(typ.Name)) > 0
	closed := slices.ContainsFunc(rel.Only, func(o Condition) bool { return o.Period != "" })
	for _, o := range rel.Only {
		if _, last, ok := ClosedRange(o.Period); ok && !c.alone && last >= c.env.Today {
			c.add(strictyaml.Join(path+".only", o.Path), "write last-closed-year, or years that are over",
				"the period ends on %s and is not over: what the next drop adds tells its date (45 CFR 164.514(b)(2)(i)(C))", last)
		}
	}
	if dated && !closed && c.Cohort == nil {
		c.add(path+".only", "add cohort:, or only: {date: last-closed-year}",
			"%s is followed without end: what one drop adds to the last tells the date of care (45 CFR 164.514(b)(2)(i)(C))", rel.Dataset)
	}
}
