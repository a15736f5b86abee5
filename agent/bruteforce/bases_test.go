package bruteforce

// bases are the policies that the pairs start from: each standard, delimited
// data and FHIR, with and without a cohort, Part 2 and disclosure control.
func bases() []*spec {
	return []*spec{identifiedCSV(), identifiedFHIR(), partTwo(), harborCohort(), harborFHIR(), limited(), expert(), tables()}
}

func identifiedCSV() *spec {
	return &spec{
		Name: "members", Standard: "identified", Recipient: "acme-health-plan", Purpose: "HOPERAT", Basis: "45 CFR 164.506(c)(4)",
		Because: "HEDIS", Version: 1,
		Agreement: agreement{"provider-contract", "A-1", "2026-01-01", "", "2026-12-31"},
		Sets:      map[string]set{"instruments": {From: "2024-01-01", Items: []string{"44261-6", "70274-6"}}},
		People:    people{Roster: "acme-roster", Covered: "at-service", Ambiguous: "withhold", General: "permit", Forms: []string{"tpo-2026"}},
		Inputs:    map[string]guard{"acme-roster": {35 * 24, 100}, "consents": {24, 10}, "restrictions": {24, 0}},
		Release: []release{{"scores",
			[]only{{Path: "instrument", Set: "instruments"}, {Path: "status", Items: []string{"final", "amended"}}, {Path: "service_date", Period: "measure-year"}},
			[]field{
				{Name: "member_id", From: "acme-roster.member_id", Do: "keep"}, {Name: "birth_date", From: "birth_date", Do: "year"},
				{Name: "service_date", From: "service_date", Do: "keep"}, {Name: "total_score", From: "total_score", Do: "keep"},
			}}},
		Layout: "csv", Mode: "full", RowKey: true, Part2Rows: "own-file", Totals: []string{"people", "rows"}, Rejected: 10, KeepYears: 7,
	}
}

func identifiedFHIR() *spec {
	return &spec{
		Name: "care", Standard: "identified", Recipient: "valley-care-group", Purpose: "TREAT", Basis: "45 CFR 164.506(c)(2)", Because: "treatment", Version: 1,
		Agreement: agreement{"participation", "V-9", "2026-01-01", "2027-12-31", ""},
		People:    people{General: "deny"},
		Inputs:    map[string]guard{"consents": {24, 10}},
		Release: []release{
			{"Patient", []only{{Path: "address.state", Items: []string{"IL", "IN"}}},
				[]field{{Name: "id", From: "id", Do: "keep"}, {Name: "birthDate", From: "birthDate", Do: "keep"}, {Name: "name", From: "name", Do: "keep"}}},
			{"Observation", []only{{Path: "code", Items: []string{"44261-6", "F1*"}}, {Path: "date", Period: "2026-01-01..2026-06-30"}},
				[]field{{Name: "code.coding.code", From: "code.coding.code", Do: "keep"}, {Name: "subject", From: "subject", Do: "keep"},
					{Name: "effectiveDateTime", From: "effectiveDateTime", Do: "year"}}},
			{"Organization", nil, []field{{Name: "active", From: "active", Do: "keep"}}},
		},
		Layout: "ndjson", Mode: "full", Part2Rows: "leave-out", KeepYears: 6,
	}
}

func partTwo() *spec {
	return &spec{
		Name: "auditc", Standard: "identified", Recipient: "acme-health-plan", Purpose: "HQUALIMP", Basis: "45 CFR 164.506(c)(1)", Because: "AUDIT-C", Version: 1,
		Agreement: agreement{"provider-contract", "A-2", "2025-07-01", "2026-12-31", ""},
		People:    people{General: "deny", Forms: []string{"tpo-2024", "tpo-2026"}, Minors: "us-ca", OptOut: true},
		Inputs:    map[string]guard{"consents": {24, 10}, "programs": {48, 0}},
		Release: []release{{"scores",
			[]only{{Path: "instrument", Items: []string{"75626-2"}}, {Path: "total_score", Numbers: true, Min: 3, Max: 12}, {Path: "service_date", Period: "last-closed-month"}},
			[]field{{Name: "patient", From: "patient_id", Do: "code"}, {Name: "score", From: "total_score", Do: "keep"}, {Name: "zip", From: "zip", Do: "zip3"}}}},
		Layout: "csv", Mode: "full", Part2Rows: "own-file", Shuffle: "people", KeepYears: 6,
	}
}

func harborCohort() *spec {
	return &spec{
		Name: "registry", Standard: "safe-harbor", Recipient: "national-outcomes-registry", Purpose: "HRESCH", Basis: "45 CFR 164.502(d)", Because: "benchmarking", Version: 1,
		Agreement: agreement{"participation", "N-77", "2026-01-01", "2028-12-31", ""},
		Attest:    &dated{"2026-01-15", "2027-01-15"},
		People:    people{OptOut: true},
		Inputs:    map[string]guard{"consents": {7 * 24, 10}},
		Cohort:    &cohort{"scores", "last-closed", 364},
		Release: []release{{"scores",
			[]only{{Path: "instrument", Items: []string{"44261-6", "70274-6"}}},
			[]field{
				{Name: "person", From: "patient_id", Do: "code"}, {Name: "index_year", From: "index", Do: "year"},
				{Name: "week", From: "service_date", Do: "relative-time", Unit: "weeks"}, {Name: "total_score", From: "total_score", Do: "keep"},
				{Name: "age", From: "birth_date", At: "index", Do: "age-band", Width: 10, Top: 80}, {Name: "sex", From: "sex", Do: "keep"},
			}}},
		Protect: &protect{K: 11, Over: []string{"age", "sex"}, Then: "suppress-person"},
		Layout:  "csv", Mode: "full", Shuffle: "people", KeepYears: 6,
	}
}

func harborFHIR() *spec {
	return &spec{
		Name: "population", Standard: "safe-harbor", Recipient: "national-outcomes-registry", Purpose: "HRESCH", Basis: "45 CFR 164.502(d)", Because: "who is cared for", Version: 1,
		Agreement: agreement{"participation", "N-77", "2026-01-01", "2028-12-31", ""},
		Attest:    &dated{"2026-01-15", "2027-01-15"},
		Inputs:    map[string]guard{},
		Release: []release{
			{"Patient", nil, []field{{Name: "gender", From: "gender", Do: "keep"}, {Name: "birthDate", From: "birthDate", Do: "year"}, {Name: "address.postalCode", From: "address.postalCode", Do: "zip3"}}},
			{"Observation", []only{{Path: "code", Items: []string{"44261-6"}}, {Path: "date", Period: "last-closed-year"}},
				[]field{{Name: "code.coding.code", From: "code.coding.code", Do: "keep"}, {Name: "effectiveDateTime", From: "effectiveDateTime", Do: "year"}}},
		},
		Layout: "ndjson", Mode: "full", KeepYears: 6,
	}
}

func limited() *spec {
	return &spec{
		Name: "surveillance", Standard: "limited-data-set", Recipient: "state-health", Purpose: "PUBHLTH", Basis: "45 CFR 164.514(e)", Because: "surveillance", Version: 1,
		Agreement: agreement{"dua", "D-3", "2026-01-01", "", "2026-09-30"},
		Sets:      map[string]set{"drugs": {Items: []string{"F10..F19"}}},
		People:    people{General: "permit", LeavePart2: true},
		Inputs:    map[string]guard{"consents": {24, 10}, "restrictions": {24, 0}},
		Release: []release{
			{"scores", []only{{Path: "instrument", Set: "drugs"}, {Path: "service_date", Period: "2025-07-01..2026-06-30"}},
				[]field{{Name: "person", From: "patient_id", Do: "token"}, {Name: "day", From: "service_date", Do: "keep"}, {Name: "birth", From: "birth_date", Do: "age-band", Width: 5, Top: 90},
					{Name: "race", From: "race", Do: "keep"}}},
			{"visits", []only{{Path: "state", Items: []string{"IL"}}}, []field{{Name: "sex", From: "sex", Do: "keep"}, {Name: "tool", From: "instrument", Do: "keep"}}},
		},
		Layout: "csv", Mode: "full", KeepYears: 6,
	}
}

func expert() *spec {
	return &spec{
		Name: "study", Standard: "expert-determination", Recipient: "university", Purpose: "HRESCH", Basis: "45 CFR 164.502(d)", Because: "a study", Version: 1,
		Agreement:   agreement{"participation", "U-1", "2026-01-01", "2026-12-31", ""},
		Certificate: &dated{"2026-02-01", "2027-02-01"},
		Sets: map[string]set{
			"race-wide": {Map: map[string]string{"A": "asian", "B": "other", "W": "other"}},
			"race-fine": {Map: map[string]string{"A": "asian", "B": "black", "W": "white"}},
		},
		Inputs: map[string]guard{},
		Cohort: &cohort{"scores", "2024", 182},
		Release: []release{{"scores",
			[]only{{Path: "status", Items: []string{"final"}}},
			[]field{{Name: "person", From: "patient_id", Do: "token"}, {Name: "date", From: "service_date", Do: "shift-date", Days: 365}, {Name: "score", From: "total_score", Do: "round", Days: 5},
				{Name: "race", From: "race", Do: "map", To: "race-fine"}, {Name: "age", From: "birth_date", Do: "age"}}}},
		Protect: &protect{K: 5, Over: []string{"race"}, Then: "suppress-person"},
		Layout:  "csv", Mode: "full", Shuffle: "people", KeepYears: 6,
	}
}

func tables() *spec {
	return &spec{
		Name: "strata", Standard: "aggregate", Recipient: "acme-health-plan", Purpose: "HOPERAT", Basis: "45 CFR 164.506(c)(4)", Because: "equity", Version: 1,
		Agreement: agreement{"provider-contract", "A-1", "2026-01-01", "", "2026-12-31"},
		Sets:      map[string]set{"top-10": {Map: map[string]string{"en": "en", "es": "es", "fr": "other"}}, "top-2": {Map: map[string]string{"en": "en", "es": "other", "fr": "other"}}},
		People:    people{Roster: "acme-roster", Covered: "any-day-of-period", Ambiguous: "leave-out", General: "permit", LeavePart2: true},
		Inputs:    map[string]guard{"acme-roster": {35 * 24, 100}},
		Tables: []table{
			{"remission", "episodes", []only{{Path: "in_denominator", Items: []string{"true"}}}, []only{{Path: "in_numerator", Items: []string{"true"}}},
				[]string{"denominator", "numerator"},
				[]dimension{{Path: "race"}, {Path: "language", Coarsen: "top-10"}, {Path: "age", Bands: []string{"12-17", "18-44", "45-64", "65+"}}}, true},
			{"response", "episodes", []only{{Path: "in_denominator", Items: []string{"true"}}}, []only{{Path: "state", Items: []string{"IL", "IN"}}}, []string{"rate"}, []dimension{{Path: "sex"}}, false},
		},
		Protect: &protect{Smallest: 11, Against: []string{"this-table", "earlier-drops"}, Years: 5, Then: "suppress"},
		Layout:  "strata-csv", Mode: "full", KeepYears: 6,
	}
}
