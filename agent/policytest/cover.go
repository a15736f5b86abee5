package policytest

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// Coverage is which clauses of one policy its cases have met.
type Coverage struct {
	Policy  string   `json:"policy"`
	Clauses int      `json:"clauses"`
	Met     int      `json:"met"`
	Missing []string `json:"missing,omitempty"`
}

// Share is the share of clauses that were met; 1 of a policy without any.
func (c *Coverage) Share() float64 {
	if c.Clauses == 0 {
		return 1
	}
	return float64(c.Met) / float64(c.Clauses)
}

// Covered sums the clauses that cases have met, by policy.
func Covered(results []*Result) (list []*Coverage) {
	met := map[string]map[string]bool{}
	for _, r := range results {
		if r.clauses == nil {
			continue
		}
		at := slices.IndexFunc(list, func(c *Coverage) bool { return c.Policy == r.policy })
		if at < 0 {
			at, met[r.policy] = len(list), map[string]bool{}
			list = append(list, &Coverage{Policy: r.policy})
		}
		for _, clause := range r.clauses {
			met[r.policy][clause] = met[r.policy][clause] || r.covered[clause]
		}
	}
	for _, c := range list {
		for clause, was := range met[c.Policy] {
			if c.Clauses++; was {
				c.Met++
			} else {
				c.Missing = append(c.Missing, clause)
			}
		}
		slices.Sort(c.Missing)
	}
	return list
}

// cover notes the clauses of the policy, and which of them the records met.
func (r *Result) cover(w *world, o *outcome) error {
	r.covered = map[string]bool{}
	note := func(clause string, met bool) {
		if _, known := r.covered[clause]; !known {
			r.clauses = append(r.clauses, clause)
		}
		r.covered[clause] = r.covered[clause] || met
	}
	for _, reason := range w.possible() {
		met := false
		for _, e := range o.endings {
			met = met || slices.Contains(e.reasons, reason.String())
		}
		note("reason "+reason.String(), met)
	}
	for i := range w.policy.Release {
		w.coverFields(&w.policy.Release[i], o, note)
	}
	return w.coverConditions(note)
}

// possible are the reasons for which the policy keeps records back.
func (w *world) possible() []extract.Reason {
	p, steps := w.policy, policies.Applies(w.c.Recipient.Kind, w.policy.Basis, w.policy.Standard)
	var list []extract.Reason
	add := func(binds bool, reasons ...extract.Reason) {
		if binds {
			list = append(list, reasons...)
		}
	}
	add(steps.SelfPay, extract.RestrictionSelfPay)
	add(steps.Agreed, extract.RestrictionAgreed)
	add(steps.Relationship, extract.NotAMember)
	add(steps.Relationship && p.People.IfAmbiguous == "withhold", extract.MemberAmbiguous)
	add(steps.Consent, extract.ConsentDenied)
	add(steps.Consent && (steps.Authorization || p.People.General == policies.DenyWithout), extract.ConsentMissing, extract.ConsentRevoked, extract.ConsentExpired)
	add(steps.Part2 && !p.People.Part2LeaveOut && p.Output.Part2Rows != "leave-out", extract.Part2NoConsent)
	add(p.People.RegistryOptOut || p.People.Part2LeaveOut, extract.ClinicChoice)
	add(p.Cohort != nil, extract.Period, extract.Population)
	return list
}

// coverFields notes which released fields have left with a value.
func (w *world) coverFields(release *policies.Release, o *outcome, note func(string, bool)) {
	for i := range release.Fields {
		f := &release.Fields[i]
		met := false
		for _, s := range w.records {
			met = met || s.dataset == release.Dataset && o.rows[s.at].has(f)
		}
		note(fmt.Sprintf("release.%s.fields.%s leaves", release.Dataset, f.Name), met)
	}
}

var inList = regexp.MustCompile(`\[\d+\]`)

// has tells whether a released row has a value of the field.
func (r row) has(f *policies.Field) bool {
	if r.columns != nil {
		at := slices.Index(r.columns, f.Name)
		values, err := readRow(r.text)
		return err == nil && at >= 0 && values[at] != ""
	}
	for path := range leaves(r.text) {
		path = inList.ReplaceAllString(path, "")
		for _, leaf := range f.Leaves {
			if path == strings.Join(leaf.Path, ".") {
				return true
			}
			for _, step := range leaf.Path {
				url, ok := strings.CutPrefix(step, "extension:")
				if ok && bytes.Contains(r.text, []byte(url)) {
					return true
				}
			}
		}
	}
	return false
}

// coverConditions asks each condition alone about each record: it must let one
// in and keep one out.
func (w *world) coverConditions(note func(string, bool)) error {
	asOf := extract.DayOf(w.c.AsOf.Time())
	for i := range w.policy.Release {
		release := w.policy.Release[i]
		for _, only := range release.Only {
			plan, err := conditionAlone(w.policy, &release, only, asOf, w.schemas[release.Dataset])
			if err != nil {
				return err
			}
			name := fmt.Sprintf("release.%s.only.%s", release.Dataset, only.Path)
			note(name+" lets in", false)
			note(name+" keeps out", false)
			err = eachRecord(w.files, func(_ int64, rec *extract.Record) {
				if rec.Dataset == release.Dataset && rec.Reject == extract.NoReason {
					in := plan.InScope(rec) == extract.NoReason
					note(name+" lets in", in)
					note(name+" keeps out", !in)
				}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// conditionAlone is the plan of a release with one of its conditions only.
func conditionAlone(p *policies.Policy, release *policies.Release, only policies.Condition, asOf extract.Day, schema *extract.Schema) (*deid.Plan, error) {
	alone := *p
	alone.Release = []policies.Release{{Dataset: release.Dataset, Only: []policies.Condition{only}, Fields: release.Fields}}
	return deid.Compile(&alone, release.Dataset, deid.Options{AsOf: asOf, Schema: schema})
}
