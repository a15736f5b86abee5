package bruteforce

import (
	"maps"
	"math/rand/v2"
	"slices"
)

// editField changes one released field that fits; protect's own may change
// form, which changes its groups.
func editField(r *rand.Rand, s *spec, fits func(dataset string, f field) bool, do func(dataset string, f *field) bool) bool {
	type place struct {
		dataset string
		f       *field
	}
	var list []place
	for i := range s.Release {
		for j := range s.Release[i].Fields {
			if f := &s.Release[i].Fields[j]; fits(s.Release[i].Dataset, *f) {
				list = append(list, place{s.Release[i].Dataset, f})
			}
		}
	}
	if len(list) == 0 {
		return false
	}
	p := pick(r, list...)
	return do(p.dataset, p.f)
}

// more are fields that a policy may come to release, by dataset.
func more(s *spec, dataset string) []field {
	switch dataset {
	case "Organization":
		return []field{{Name: "name", From: "name", Do: "keep"}}
	case "Patient":
		return []field{{Name: "gender", From: "gender", Do: "keep"}, {Name: "address.state", From: "address.state", Do: "keep"}, {Name: "birthDate", From: "birthDate", Do: "year"}, {Name: "identifier", From: "identifier", Do: "keep"}}
	case "Observation":
		return []field{{Name: "status", From: "status", Do: "keep"}, {Name: "value[x]", From: "value[x]", Do: "keep"}, {Name: "encounter", From: "encounter", Do: "keep"}}
	case "visits":
		return []field{{Name: "race", From: "race", Do: "keep"}, {Name: "sex", From: "sex", Do: "keep"}}
	}
	list := []field{
		{Name: "state", From: "state", Do: "keep"}, {Name: "tool", From: "instrument", Do: "keep"}, {Name: "zip3", From: "zip", Do: "zip3"}, {Name: "person_code", From: "patient_id", Do: "code"},
		{Name: "year", From: "service_date", Do: "year"}, {Name: "age_now", From: "birth_date", Do: "age-band", Width: 10, Top: 90}, {Name: "race_shown", From: "race", Do: "keep"},
	}
	if s.Cohort != nil {
		list = append(list, field{Name: "begun", From: "index", Do: "year"}, field{Name: "weeks", From: "service_date", Do: "relative-time", Unit: "weeks"})
	}
	return list
}

var fieldEdits = []edit{
	{"field added", func(r *rand.Rand, s *spec) bool {
		if len(s.Release) == 0 {
			return false
		}
		rel := &s.Release[r.IntN(len(s.Release))]
		f := pick(r, more(s, rel.Dataset)...)
		if slices.ContainsFunc(rel.Fields, func(g field) bool { return g.Name == f.Name || g.From == f.From && isFHIR(rel.Dataset) }) {
			return false
		}
		rel.Fields = append(rel.Fields, f)
		return true
	}},
	{"field removed", func(r *rand.Rand, s *spec) bool {
		if len(s.Release) == 0 {
			return false
		}
		rel := &s.Release[r.IntN(len(s.Release))]
		i := r.IntN(len(rel.Fields))
		if len(rel.Fields) == 1 || s.Protect != nil && slices.Contains(s.Protect.Over, rel.Fields[i].Name) {
			return false
		}
		rel.Fields = slices.Delete(rel.Fields, i, i+1)
		return true
	}},
	{"field renamed", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(d string, f field) bool {
			return !isFHIR(d) && (s.Protect == nil || !slices.Contains(s.Protect.Over, f.Name))
		}, func(_ string, f *field) bool {
			f.Name += "_again"
			return true
		})
	}},
	{"field from", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(d string, f field) bool {
			return !isFHIR(d) && (f.Do == "keep" || f.Do == "code") && f.From != "birth_date"
		}, func(_ string, f *field) bool {
			if f.Do == "code" {
				return false
			}
			return change(r, &f.From, "sex", "race", "state", "instrument")
		})
	}},
	{"field: a whole or its leaf", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(d string, f field) bool { return f.From == "code" || f.From == "code.coding.code" }, func(_ string, f *field) bool {
			change(r, &f.From, "code", "code.coding.code")
			f.Name = f.From
			return true
		})
	}},
	{"field constant", func(r *rand.Rand, s *spec) bool {
		for i := range s.Release {
			if rel := &s.Release[i]; !isFHIR(rel.Dataset) {
				if r.IntN(2) == 0 {
					rel.Fields = append(rel.Fields, field{Name: "source", From: "source", Do: "constant", To: "clinic"})
				} else {
					rel.Fields = append([]field{{Name: "source", From: "source", Do: "constant", To: "clinic"}}, rel.Fields[1:]...)
					return s.Protect == nil
				}
				return true
			}
		}
		return false
	}},
}

// forms are what may be done to a column of a class.
func forms(s *spec, f field) []field {
	with := func(g field) field { g.Name, g.From = f.Name, f.From; return g }
	switch f.From {
	case "birth_date":
		list := []field{with(field{Do: "keep"}), with(field{Do: "year"}), with(field{Do: "age"}), with(field{Do: "age-band", Width: 5, Top: 90}), with(field{Do: "age-band", Width: 10, Top: 90}), with(field{Do: "age-band", Width: 10, Top: 80})}
		if s.Cohort != nil {
			list = append(list, with(field{Do: "age", At: "index"}), with(field{Do: "age-band", At: "index", Width: 5, Top: 90}))
		}
		return list
	case "service_date":
		list := []field{with(field{Do: "keep"}), with(field{Do: "year"}), with(field{Do: "shift-date", Days: 365}), with(field{Do: "shift-date", Days: 30})}
		if s.Cohort != nil {
			list = append(list, with(field{Do: "relative-time", Unit: "days"}), with(field{Do: "relative-time", Unit: "weeks"}))
		}
		return list
	case "patient_id":
		return []field{with(field{Do: "keep"}), with(field{Do: "code"}), with(field{Do: "token"}), with(field{Do: "ordinal"})}
	case "total_score":
		return []field{with(field{Do: "keep"}), with(field{Do: "round", Days: 5}), with(field{Do: "round", Days: 10}), with(field{Do: "round", Days: 15})}
	case "zip":
		return []field{with(field{Do: "keep"}), with(field{Do: "zip3"})}
	case "race":
		list := []field{with(field{Do: "keep"})}
		if s.Sets["race-fine"].Map != nil {
			list = append(list, with(field{Do: "map", To: "race-fine"}), with(field{Do: "map", To: "race-wide"}))
		}
		return list
	case "birthDate", "effectiveDateTime":
		return []field{with(field{Do: "keep"}), with(field{Do: "year"})}
	}
	return nil
}

func reform(r *rand.Rand, s *spec, fits func(f, g field) bool) bool {
	allowed := func(f field) []field {
		return slices.DeleteFunc(forms(s, f), func(g field) bool { return f == g || !fits(f, g) })
	}
	return editField(r, s, func(_ string, f field) bool { return len(allowed(f)) > 0 }, func(_ string, f *field) bool {
		*f = pick(r, allowed(*f)...)
		return true
	})
}

var formEdits = []edit{
	{"do", func(r *rand.Rand, s *spec) bool { return reform(r, s, func(f, g field) bool { return f.Do != g.Do }) }},
	{"do: code, token, ordinal", func(r *rand.Rand, s *spec) bool {
		return reform(r, s, func(f, g field) bool { return f.From == "patient_id" && f.Do != g.Do })
	}},
	{"do: age, age-band", func(r *rand.Rand, s *spec) bool {
		return reform(r, s, func(f, g field) bool { return f.From == "birth_date" && f.Do != g.Do })
	}},
	{"width", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(_ string, f field) bool { return f.Do == "age-band" }, func(_ string, f *field) bool {
			return change(r, &f.Width, 5, 10, 2) && f.Top%f.Width == 0
		})
	}},
	{"top", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(_ string, f field) bool { return f.Do == "age-band" }, func(_ string, f *field) bool {
			return change(r, &f.Top, 70, 80, 90) && f.Top%f.Width == 0
		})
	}},
	{"at", func(r *rand.Rand, s *spec) bool {
		return s.Cohort != nil && editField(r, s, func(_ string, f field) bool { return f.Do == "age-band" || f.Do == "age" }, func(_ string, f *field) bool {
			return change(r, &f.At, "", "index")
		})
	}},
	{"unit", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(_ string, f field) bool { return f.Do == "relative-time" }, func(_ string, f *field) bool {
			return change(r, &f.Unit, "days", "weeks")
		})
	}},
	{"shift-date range", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(_ string, f field) bool { return f.Do == "shift-date" }, func(_ string, f *field) bool {
			return change(r, &f.Days, 30, 365, 730)
		})
	}},
	{"round", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(_ string, f field) bool { return f.Do == "round" }, func(_ string, f *field) bool {
			return change(r, &f.Days, 1, 3, 5, 10, 15)
		})
	}},
	{"map", func(r *rand.Rand, s *spec) bool {
		return editField(r, s, func(_ string, f field) bool { return f.Do == "map" }, func(_ string, f *field) bool {
			return change(r, &f.To, "race-fine", "race-wide")
		})
	}},
	{"value set map", func(r *rand.Rand, s *spec) bool {
		return editSet(r, s, func(v *set) bool {
			if v.Map == nil {
				return false
			}
			v.Map = maps.Clone(v.Map)
			from := pick(r, slices.Sorted(maps.Keys(v.Map))...)
			if r.IntN(4) == 0 {
				delete(v.Map, from)
				return true
			}
			v.Map[from] = pick(r, "other", "asian", "en", "es", from+"-own")
			return true
		})
	}},
}

var controlEdits = []edit{
	{"protect", func(r *rand.Rand, s *spec) bool {
		if s.Protect != nil {
			s.Protect = nil
			return len(s.Tables) == 0
		}
		s.Protect = &protect{K: 11, Over: []string{s.Release[0].Fields[len(s.Release[0].Fields)-1].Name}, Then: "suppress"}
		return true
	}},
	{"protect.k", func(r *rand.Rand, s *spec) bool {
		return s.Protect != nil && s.Protect.K > 0 && change(r, &s.Protect.K, 5, 11, 20)
	}},
	{"protect.over", func(r *rand.Rand, s *spec) bool {
		if s.Protect == nil || s.Protect.K == 0 {
			return false
		}
		var names []string
		for _, f := range s.Release[0].Fields {
			names = append(names, f.Name)
		}
		if name := pick(r, names...); !slices.Contains(s.Protect.Over, name) && r.IntN(3) > 0 {
			s.Protect.Over = append(slices.Clone(s.Protect.Over), name)
			return true
		}
		s.Protect.Over = s.Protect.Over[1:]
		return len(s.Protect.Over) > 0
	}},
	{"protect.first", func(r *rand.Rand, s *spec) bool {
		if s.Protect == nil {
			return false
		}
		if s.Protect.K == 0 {
			s.Protect.First = pick(r, nil, []string{"coarsen"})
			return true
		}
		s.Protect.First = pick(r, nil, []string{"coarsen " + s.Protect.Over[0]}, []string{"coarsen " + s.Protect.Over[len(s.Protect.Over)-1], "coarsen " + s.Protect.Over[0]})
		return true
	}},
	{"protect.then", func(r *rand.Rand, s *spec) bool {
		return s.Protect != nil && s.Protect.K > 0 && change(r, &s.Protect.Then, "suppress", "suppress-person")
	}},
	{"protect.smallest_count", func(r *rand.Rand, s *spec) bool {
		return s.Protect != nil && s.Protect.Smallest > 0 && change(r, &s.Protect.Smallest, 11, 16, 5)
	}},
	{"protect.against", func(r *rand.Rand, s *spec) bool {
		if s.Protect == nil {
			return false
		}
		s.Protect.Against = pick(r, nil, []string{"this-table"}, []string{"this-table", "linked-tables"}, []string{"this-table", "earlier-drops"})
		if s.Protect.Years = 0; slices.Contains(s.Protect.Against, "earlier-drops") {
			s.Protect.Years = pick(r, 3, 5)
		}
		return true
	}},
	{"protect.against: years", func(r *rand.Rand, s *spec) bool {
		return s.Protect != nil && slices.Contains(s.Protect.Against, "earlier-drops") && change(r, &s.Protect.Years, 1, 3, 5)
	}},
	{"protect.audit", func(r *rand.Rand, s *spec) bool {
		if s.Protect != nil {
			s.Protect.Audit = !s.Protect.Audit
		}
		return s.Protect != nil
	}},
}

func editTable(r *rand.Rand, s *spec, do func(*table) bool) bool {
	return len(s.Tables) > 0 && do(&s.Tables[r.IntN(len(s.Tables))])
}

func editDimension(r *rand.Rand, s *spec, fits func(dimension) bool, do func(*dimension) bool) bool {
	return editTable(r, s, func(t *table) bool {
		i := slices.IndexFunc(t.By, fits)
		return i >= 0 && do(&t.By[i])
	})
}

var tableEdits = []edit{
	{"table", func(r *rand.Rand, s *spec) bool {
		if len(s.Tables) < 2 {
			return false
		}
		s.Tables = s.Tables[:1]
		return true
	}},
	{"table dimension", func(r *rand.Rand, s *spec) bool {
		return editTable(r, s, func(t *table) bool {
			d := dimension{Path: pick(r, "sex", "race", "state", "language")}
			if i := slices.IndexFunc(t.By, func(x dimension) bool { return x.Path == d.Path }); i >= 0 && len(t.By) > 1 {
				t.By = slices.Delete(t.By, i, i+1)
			} else if i < 0 {
				t.By = append(t.By, d)
			} else {
				return false
			}
			return true
		})
	}},
	{"table bands", func(r *rand.Rand, s *spec) bool {
		return editDimension(r, s, func(d dimension) bool { return d.Path == "age" }, func(d *dimension) bool {
			d.Bands = pick(r, nil, []string{"12-17", "18-64", "65+"}, []string{"12-17", "18-44", "45-64", "65-74", "75+"}, []string{"18-44", "45-64"}, []string{"0-17", "18-44", "45-64", "65+"})
			return true
		})
	}},
	{"table coarsen", func(r *rand.Rand, s *spec) bool {
		return editDimension(r, s, func(d dimension) bool { return d.Path == "language" }, func(d *dimension) bool {
			return change(r, &d.Coarsen, "", "top-10", "top-2")
		})
	}},
	{"table denominator", func(r *rand.Rand, s *spec) bool {
		return editTable(r, s, func(t *table) bool {
			if len(t.In) > 1 {
				t.In = t.In[:1]
			} else {
				t.In = append(slices.Clone(t.In), only{Path: "state", Items: []string{"IL"}})
			}
			return true
		})
	}},
	{"table numerator", func(r *rand.Rand, s *spec) bool {
		return editTable(r, s, func(t *table) bool {
			t.Met = pick(r, []only{{Path: "state", Items: []string{"IL"}}}, []only{{Path: "in_numerator", Items: []string{"true"}}, {Path: "sex", Items: []string{"f"}}}, []only{{Path: "sex", Items: []string{"f"}}})
			return true
		})
	}},
	{"table show", func(r *rand.Rand, s *spec) bool {
		return editTable(r, s, func(t *table) bool {
			t.Show = pick(r, []string{"denominator"}, []string{"rate"}, []string{"denominator", "numerator", "rate"}, []string{"numerator", "rate"}, []string{"denominator", "numerator"})
			return true
		})
	}},
	{"table totals", func(r *rand.Rand, s *spec) bool {
		return editTable(r, s, func(t *table) bool { t.Totals = !t.Totals; return true })
	}},
}

var otherEdits = []edit{
	{"row_key", func(r *rand.Rand, s *spec) bool { s.RowKey = !s.RowKey; return s.Layout == "csv" }},
	{"shuffle", func(r *rand.Rand, s *spec) bool { return len(s.Tables) == 0 && change(r, &s.Shuffle, "", "people") }},
	{"tolerate", func(r *rand.Rand, s *spec) bool { return change(r, &s.Rejected, 0, 10, 20) }},
	{"layout", func(r *rand.Rand, s *spec) bool {
		return s.Layout != "ndjson" && change(r, &s.Layout, "csv", "wide-csv")
	}},
	{"also", func(r *rand.Rand, s *spec) bool { return change(r, &s.Also, "", "measurereport-summary") }},
	{"mode", func(r *rand.Rand, s *spec) bool { return change(r, &s.Mode, "full", "delta") }},
	{"totals", func(r *rand.Rand, s *spec) bool {
		s.Totals = pick(r, []string{"people"}, []string{"rows"}, []string{"people", "rows"}, nil)
		return true
	}},
	{"because", func(r *rand.Rand, s *spec) bool { s.Because += ", told better"; return true }},
	{"version", func(r *rand.Rand, s *spec) bool { s.Version++; return true }},
	{"keep", func(r *rand.Rand, s *spec) bool { return change(r, &s.KeepYears, 6, 7, 10) }},
}
