package bruteforce

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
)

// edit is one change that an officer might make to a construct of the
// language; it returns false where the policy has nothing for it to change.
type edit struct {
	construct string
	apply     func(*rand.Rand, *spec) bool
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// change sets a value to another of the list.
func change[T comparable](r *rand.Rand, at *T, list ...T) bool {
	list = slices.DeleteFunc(list, func(v T) bool { return v == *at })
	*at = pick(r, list...)
	return true
}

func edits() []edit {
	return slices.Concat(paperEdits, peopleEdits, scopeEdits, fieldEdits, formEdits, controlEdits, tableEdits, otherEdits)
}

var paperEdits = []edit{
	{"standard", func(r *rand.Rand, s *spec) bool {
		if len(s.Tables) > 0 || s.Certificate != nil || slices.ContainsFunc(s.Release, usesRoster) {
			return false
		}
		change(r, &s.Standard, "identified", "limited-data-set", "safe-harbor")
		standards[s.Standard](s)
		return true
	}},
	{"recipient", func(r *rand.Rand, s *spec) bool {
		return change(r, &s.Recipient, "acme-health-plan", "beta-health-plan", "valley-care-group")
	}},
	{"purpose", func(r *rand.Rand, s *spec) bool {
		within := map[string][]string{"HOPERAT": {"HQUALIMP"}, "HQUALIMP": {"HOPERAT", "CAREMGT"}, "TREAT": {"COC"}, "HRESCH": {"BIORCH"}, "PUBHLTH": {"THREAT", "HRESCH"}}[s.Purpose]
		return within != nil && change(r, &s.Purpose, append(within, s.Purpose)...)
	}},
	{"basis", func(r *rand.Rand, s *spec) bool {
		return s.Standard == "identified" && change(r, &s.Basis, "45 CFR 164.506(c)(1)", "45 CFR 164.506(c)(2)", "45 CFR 164.506(c)(4)", "45 CFR 164.506(c)(5)", "45 CFR 164.508", "45 CFR 164.512(a)")
	}},
	{"agreement.from", func(r *rand.Rand, s *spec) bool {
		return change(r, &s.Agreement.From, "2025-07-01", "2026-01-01", "2026-02-15")
	}},
	{"agreement.to", func(r *rand.Rand, s *spec) bool {
		if s.Agreement.Review != "" {
			s.Agreement.To, s.Agreement.Review = pick(r, "2026-12-31", "2027-06-30", "2026-08-31"), ""
			return true
		}
		return change(r, &s.Agreement.To, "2026-10-31", "2027-12-31", "2028-12-31")
	}},
	{"agreement.review_by", func(r *rand.Rand, s *spec) bool {
		return s.Agreement.Review != "" && change(r, &s.Agreement.Review, "2026-09-30", "2026-12-31", "2027-01-31")
	}},
	{"agreement.kind", func(r *rand.Rand, s *spec) bool {
		return change(r, &s.Agreement.Kind, "provider-contract", "participation", "dua")
	}},
	{"attest", func(r *rand.Rand, s *spec) bool {
		return s.Attest != nil && (r.IntN(2) == 0 && change(r, &s.Attest.From, "2025-12-01", "2026-01-15", "2026-03-01") || change(r, &s.Attest.To, "2026-12-15", "2027-01-15", "2027-02-01"))
	}},
	{"certificate", func(r *rand.Rand, s *spec) bool {
		if s.Certificate == nil {
			return false
		}
		switch r.IntN(3) {
		case 0:
			s.FineDates = !s.FineDates
			return true
		case 1:
			return change(r, &s.Certificate.From, "2025-12-01", "2026-02-01", "2026-03-01")
		}
		return change(r, &s.Certificate.To, "2026-11-30", "2027-02-01", "2027-03-01")
	}},
	{"value set dates", func(r *rand.Rand, s *spec) bool {
		return editSet(r, s, func(v *set) bool { return change(r, pick(r, &v.From, &v.To), "", "2026-05-01", "2027-05-01") })
	}},
}

// editSet changes one of the value sets.
func editSet(r *rand.Rand, s *spec, do func(*set) bool) bool {
	if len(s.Sets) == 0 {
		return false
	}
	var names []string
	for name := range s.Sets {
		names = append(names, name)
	}
	slices.Sort(names)
	name := pick(r, names...)
	v := s.Sets[name]
	defer func() { s.Sets[name] = v }()
	return do(&v)
}

// standards are what a policy of another standard asks besides.
var standards = map[string]func(*spec){
	"identified": func(s *spec) { s.Basis, s.People.General, s.Attest = "45 CFR 164.508", "deny", nil },
	"limited-data-set": func(s *spec) {
		s.Basis, s.People.General, s.Agreement.Kind, s.Attest = "45 CFR 164.514(e)", "permit", "dua", nil
	},
	"safe-harbor": func(s *spec) {
		s.Basis, s.People.General, s.People.Roster, s.Attest = "45 CFR 164.502(d)", "", "", &dated{"2026-01-15", "2027-01-15"}
	},
}

var peopleEdits = []edit{
	{"relationship.roster", func(r *rand.Rand, s *spec) bool {
		if s.Standard == "safe-harbor" || s.Standard == "expert-determination" || slices.ContainsFunc(s.Release, usesRoster) {
			return false
		}
		s.People.Covered = "at-service"
		return change(r, &s.People.Roster, "", "acme-roster", "beta-roster")
	}},
	{"relationship.covered", func(r *rand.Rand, s *spec) bool {
		return s.People.Roster != "" && change(r, &s.People.Covered, "at-service", "any-day-of-period")
	}},
	{"relationship.if_ambiguous", func(r *rand.Rand, s *spec) bool {
		return s.People.Roster != "" && change(r, &s.People.Ambiguous, "withhold", "leave-out")
	}},
	{"consent.general", func(r *rand.Rand, s *spec) bool {
		return s.People.General != "" && change(r, &s.People.General, "permit", "deny")
	}},
	{"consent.accept_forms", func(r *rand.Rand, s *spec) bool {
		s.People.Forms = pick(r, nil, []string{"tpo-2024"}, []string{"tpo-2026"}, []string{"tpo-2026", "tpo-2024"}, []string{"tpo-2027", "tpo-2026"})
		return s.Standard == "identified"
	}},
	{"consent.minors", func(r *rand.Rand, s *spec) bool { return change(r, &s.People.Minors, "", "us-ca", "us-il") }},
	{"clinic_choice.registry_opt_out", func(r *rand.Rand, s *spec) bool {
		s.People.OptOut = !s.People.OptOut
		return true
	}},
	{"clinic_choice.part2_program", func(r *rand.Rand, s *spec) bool {
		s.People.LeavePart2 = !s.People.LeavePart2
		return true
	}},
	{"output.part2_rows", func(r *rand.Rand, s *spec) bool {
		return s.Standard == "identified" && change(r, &s.Part2Rows, "own-file", "same-file", "leave-out")
	}},
	{"inputs", func(r *rand.Rand, s *spec) bool {
		if name := pick(r, "consents", "restrictions", "programs"); s.Inputs[name] == (guard{}) || r.IntN(3) == 0 {
			if _, there := s.Inputs[name]; there {
				delete(s.Inputs, name)
			} else {
				s.Inputs[name] = guard{48, 20}
			}
			return true
		}
		return false
	}},
	{"inputs.max_age", func(r *rand.Rand, s *spec) bool {
		return editInput(r, s, func(g *guard) bool { return change(r, &g.Hours, 24, 48, 35*24) })
	}},
	{"inputs.shrink_limit", func(r *rand.Rand, s *spec) bool {
		return editInput(r, s, func(g *guard) bool { return change(r, &g.Gone, 0, 10, 50, 100) })
	}},
}

func usesRoster(rel release) bool {
	return slices.ContainsFunc(rel.Fields, func(f field) bool { return strings.Contains(f.From, "roster.") })
}

func editInput(r *rand.Rand, s *spec, do func(*guard) bool) bool {
	name := pick(r, "consents", "restrictions", "programs", "acme-roster")
	g, ok := s.Inputs[name]
	if ok && do(&g) {
		s.Inputs[name] = g
		return true
	}
	return false
}

// editOnly changes one condition of one dataset that fits.
func editOnly(r *rand.Rand, s *spec, fits func(only) bool, do func(*only) bool) bool {
	var list []*only
	for i := range s.Release {
		for j := range s.Release[i].Only {
			list = append(list, &s.Release[i].Only[j])
		}
	}
	for i := range s.Tables {
		for _, part := range [][]only{s.Tables[i].In, s.Tables[i].Met} {
			for j := range part {
				list = append(list, &part[j])
			}
		}
	}
	list = slices.DeleteFunc(list, func(c *only) bool { return !fits(*c) })
	return len(list) > 0 && do(pick(r, list...))
}

func ofCodes(c only) bool  { return c.Period == "" && !c.Numbers && codesAt(c.Path) != nil }
func isPeriod(c only) bool { return c.Period != "" }

var codesOf = map[string][]string{
	"instrument": {"44261-6", "70274-6", "75626-2", "F1*", "F10..F19", "4426*", "44*", "F12", "F19.2"}, "status": {"final", "amended", "fin*"},
	"code": {"44261-6", "70274-6", "F1*", "F10..F19", "F10", "F1"}, "state": {"IL", "IN", "I*", "IA..IL"}, "address.state": {"IL", "IN", "I*", "IA..IM"}, "sex": {"f", "m", "f*"}, "total_score": {"10", "3", "1*", "10..12"},
}

func codesAt(path string) []string { return codesOf[strings.TrimSuffix(path, ".coding.code")] }

var scopeEdits = []edit{
	{"condition: one value", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, ofCodes, func(c *only) bool {
			c.Set, c.Items = "", []string{pick(r, codesAt(c.Path)...)}
			return true
		})
	}},
	{"condition: list", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, ofCodes, func(c *only) bool {
			if c.Set != "" {
				c.Items, c.Set = itemsOf(s, *c), ""
			}
			if len(c.Items) > 1 && r.IntN(2) == 0 {
				c.Items = c.Items[1:]
				return true
			}
			c.Items = append(slices.Clone(c.Items), pick(r, codesAt(c.Path)...))
			return true
		})
	}},
	{"condition: prefix", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, ofCodes, func(c *only) bool {
			c.Set, c.Items = "", append(slices.Clone(c.Items), pick(r, codesAt(c.Path)...)[:1]+"*")
			return true
		})
	}},
	{"condition: range", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, ofCodes, func(c *only) bool {
			c.Set, c.Items = "", append(slices.Clone(c.Items), pick(r, "F10..F19", "F11..F12", "44..70274-6", "I..IM", "IL..IN", "a..g"))
			return true
		})
	}},
	{"condition: in value set", func(r *rand.Rand, s *spec) bool {
		if len(s.Sets) == 0 || len(s.Tables) > 0 || s.Certificate != nil {
			return false
		}
		return editOnly(r, s, func(c only) bool { return ofCodes(c) && c.Path == "instrument" }, func(c *only) bool {
			for name := range s.Sets {
				c.Set, c.Items = name, nil
			}
			return true
		})
	}},
	{"value set codes", func(r *rand.Rand, s *spec) bool {
		return editSet(r, s, func(v *set) bool {
			if v.Map != nil {
				return false
			}
			if v.Items = slices.Clone(v.Items); len(v.Items) > 1 && r.IntN(2) == 0 {
				v.Items = v.Items[:1]
				return true
			}
			v.Items = append(v.Items, pick(r, codesOf["instrument"]...))
			return true
		})
	}},
	{"condition: number range", func(r *rand.Rand, s *spec) bool {
		if rel := s.dataset("scores"); rel != nil && !slices.ContainsFunc(rel.Only, func(c only) bool { return c.Numbers }) {
			rel.Only = append(rel.Only, only{Path: "total_score", Numbers: true, Min: 0, Max: 27})
			return true
		}
		return editOnly(r, s, func(c only) bool { return c.Numbers }, func(c *only) bool {
			return change(r, pick(r, &c.Min, &c.Max), 3, 3.5, 10, 12, 27)
		})
	}},
	{"condition: numbers by their digits", func(r *rand.Rand, s *spec) bool {
		rel := s.dataset("scores")
		if rel == nil {
			return false
		}
		rel.Only = slices.DeleteFunc(rel.Only, func(c only) bool { return c.Path == "total_score" })
		rel.Only = append(rel.Only, only{Path: "total_score", Items: pick(r, []string{"10"}, []string{"3", "27"}, []string{"1*"}, []string{"10..12"})})
		return true
	}},
	{"condition on date or its column", func(r *rand.Rand, s *spec) bool {
		rel := s.dataset("scores")
		if rel == nil {
			return false
		}
		if i := slices.IndexFunc(rel.Only, func(c only) bool { return isDate("scores", c.Path) }); i >= 0 {
			return change(r, &rel.Only[i].Path, "date", "service_date")
		}
		rel.Only = append(rel.Only, only{Path: "date", Period: "last-closed-year"})
		return true
	}},
	{"schema: listed values", func(r *rand.Rand, s *spec) bool {
		if s.dataset("scores") == nil {
			return false
		}
		if s.Listed = maps.Clone(s.Listed); s.Listed == nil {
			s.Listed = map[string][]string{}
		}
		s.Listed[pick(r, "status", "sex")] = pick(r, []string{"final", "f"}, []string{"final", "amended", "f", "m"}, []string{"registered", "m"})
		return true
	}},
	{"condition: period word", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, isPeriod, func(c *only) bool {
			if s.Standard == "safe-harbor" {
				return change(r, &c.Period, "last-closed-year", "2025-01-01..2025-12-31")
			}
			return change(r, &c.Period, "measure-year", "last-closed-year", "last-closed-month")
		})
	}},
	{"condition: period of dates", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, isPeriod, func(c *only) bool {
			if s.Standard == "safe-harbor" {
				return change(r, &c.Period, "2024-01-01..2024-12-31", "2025-01-01..2025-12-31", "2024-01-01..2025-12-31")
			}
			return change(r, &c.Period, "2026-01-01..2026-06-30", "2025-07-01..2026-06-30", "2026-01-01..2026-12-31", "2026-02-01..2026-05-15", "2024-01-01..2027-12-31")
		})
	}},
	{"condition: period on a second date", func(r *rand.Rand, s *spec) bool {
		rel := s.dataset("visits")
		if rel == nil {
			return false
		}
		if i := slices.IndexFunc(rel.Only, func(c only) bool { return c.Path == "visited" }); i >= 0 {
			return change(r, &rel.Only[i].Period, "last-closed-year", "2026-01-01..2026-03-31", "2025-01-01..2026-12-31")
		}
		rel.Only = append(rel.Only, only{Path: "visited", Period: pick(r, "measure-year", "2026-01-01..2026-03-31")})
		return true
	}},
	{"condition added", func(r *rand.Rand, s *spec) bool {
		for _, name := range []string{"scores", "visits", "Observation"} {
			path := map[string]string{"scores": "state", "visits": "instrument", "Observation": "status"}[name]
			if rel := s.dataset(name); rel != nil && !slices.ContainsFunc(rel.Only, func(c only) bool { return c.Path == path }) {
				rel.Only = append(rel.Only, only{Path: path, Items: []string{"IL", "final"}})
				return true
			}
		}
		return false
	}},
	{"condition removed", func(r *rand.Rand, s *spec) bool {
		if len(s.Release) == 0 {
			return false
		}
		rel := &s.Release[r.IntN(len(s.Release))]
		if len(rel.Only) == 0 || s.Standard == "safe-harbor" && isPeriod(rel.Only[len(rel.Only)-1]) {
			return false
		}
		rel.Only = rel.Only[:len(rel.Only)-1]
		return true
	}},
	{"condition on the codes of a concept", func(r *rand.Rand, s *spec) bool {
		return editOnly(r, s, func(c only) bool { return c.Path == "code" || c.Path == "code.coding.code" }, func(c *only) bool {
			return change(r, &c.Path, "code", "code.coding.code")
		})
	}},
	{"cohort", func(r *rand.Rand, s *spec) bool {
		if s.Standard == "safe-harbor" || len(s.Tables) > 0 || s.dataset("scores") == nil || slices.ContainsFunc(s.dataset("scores").Fields, needsIndex) {
			return false
		}
		if s.Cohort != nil {
			s.Cohort = nil
		} else {
			s.Cohort = &cohort{"scores", pick(r, "2025", "last-closed"), 364}
		}
		return true
	}},
	{"cohort.index", func(r *rand.Rand, s *spec) bool {
		if s.Cohort == nil {
			return false
		}
		if s.dataset("visits") == nil {
			s.Release = append(s.Release, release{"visits", []only{{Path: "state", Items: []string{"IL"}}}, []field{{Name: "tool", From: "instrument", Do: "keep"}}})
		}
		return change(r, &s.Cohort.Dataset, "scores", "visits")
	}},
	{"cohort.index_year", func(r *rand.Rand, s *spec) bool {
		return s.Cohort != nil && change(r, &s.Cohort.Year, "last-closed", "2024", "2025", "2026")
	}},
	{"cohort.follow", func(r *rand.Rand, s *spec) bool {
		return s.Cohort != nil && change(r, &s.Cohort.Follow, 1, 182, 364, 371, 28)
	}},
	{"dataset", func(r *rand.Rand, s *spec) bool {
		switch {
		case len(s.Release) > 1 && (s.Cohort == nil || s.Cohort.Dataset != s.Release[len(s.Release)-1].Dataset):
			s.Release = s.Release[:len(s.Release)-1]
		case s.Layout == "csv" && s.dataset("visits") == nil:
			s.Release = append(s.Release, release{"visits", []only{{Path: "state", Items: []string{"IL"}}}, []field{{Name: "tool", From: "instrument", Do: "keep"}}})
		default:
			return false
		}
		return true
	}},
}

func needsIndex(f field) bool { return form{field: f}.readsIndex() }
