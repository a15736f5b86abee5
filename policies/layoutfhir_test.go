package policies

import (
	"strings"
	"testing"
)

const fhirLayout = `postern: layout/v1
title: t
form: delimited
delimiter: bar
quotes: never
line_end: lf
encoding: ascii
files:
  Observation:
    per: component
    columns:
      a: {from: id}
      b: {from: subject}
      c: {from: effectiveDateTime, date: YYYYMMDD}
      d: {from: component.code.coding.code}
      e: {from: component.valueQuantity.value}
      k: {row_key: yes}
control:
  columns: {f: file, r: rows, s: sum of e, d: as of YYYYMMDD, t: CLV}
`

const pivotLayout = `postern: layout/v1
title: t
form: delimited
delimiter: bar
quotes: never
line_end: lf
encoding: ascii
files:
  scores:
    columns:
      a: {from: member_id}
      b: {from: birth_date}
      c: {from: sex}
      d: {from: provider_npi}
      e: {from: tin}
      f: {from: service_date}
      g: {from: total_score, when: {instrument: 44261-6}}
      h: {from: total_score, when: {instrument: 70274-6}, else: "-"}
      k: {row_key: yes}
`

const noTotals = "totals: [people, rows]"

// A layout of FHIR names one value a column, which repeats or does not; columns
// are bound to values of a closed list, all of it.
func TestWrongLayoutsOfResources(t *testing.T) {
	totals := "totals: [people, rows, sum of component.valueQuantity.value, rows by component.code.coding.code]"
	scoreTotals := "totals: [people, rows, sum of total_score, rows by instrument]"
	plainScores := []string{scoreTotals, noTotals}
	withPerson := []string{"      id: {", "      member: {from: acme-roster.member_id}\n      age: {do: age-band, width: 5, top: 90+}\n      years: {do: age}\n      id: {"}
	for _, c := range []wrongLayout{
		{"as it is", fhirLayout, "", "", "", nil},
		{"a row for each resource", fhirLayout, "    per: component\n", "", "", nil},
		{"an unknown path", fhirLayout, "component.code.coding.code}", "component.code.coding.cod}", `fhir.yaml:15:17: files.Observation.columns.d.from: "component.code.coding.cod" is not among the released fields of Observation (did you mean "component.code.coding.code"?)`, nil},
		{"a field of several values", fhirLayout, "component.valueQuantity.value}", "component.valueQuantity}", "columns.e.from: component.valueQuantity has several values, and a cell holds one (write component.valueQuantity.code, component.valueQuantity.comparator,", []string{"component.valueQuantity.value: {do", "component.valueQuantity: {do", totals, noTotals}},
		{"a field that is refused itself", fhirLayout, "{from: subject}", "{from: subjct}", "release.Observation.fields.subjct: Observation has no element subjct", []string{"subject: {do", "subjct: {do"}},
		{"a field that no column takes", fhirLayout, "      b: {from: subject}\n", "", "release.Observation.fields.subject: no column of the layout fhir takes it", nil},
		{"an element that does not repeat", fhirLayout, "per: component", "per: code", "files.Observation.per: Observation has no element code that repeats", nil},
		{"an element of none", fhirLayout, "per: component", "per: component.x.y", "files.Observation.per: Observation has no element component.x.y that repeats", nil},
		{"a repeating element below", fhirLayout, "per: component", "per: component.code.coding", "", nil},
		{"a repeating value", fhirLayout, "per: component", "per: instantiatesCanonical", "no element instantiatesCanonical that repeats and has", nil},
		{"rows that would be alike", fhirLayout, "per: component", "per: category", "files.Observation.per: no column takes a value of it", nil},
		{"rows of elements of a delimited dataset", pivotLayout, "    columns:", "    per: component\n    columns:", "files.scores.per: scores has no element component that repeats", plainScores},
		{"a date of no date", fhirLayout, "{from: id}", "{from: id, date: YYYY}", "fhir.yaml:12:27: files.Observation.columns.a.date: id is a record-key, and no date", nil},
		{"a map of a reference", fhirLayout, "{from: subject}", "{from: subject, map: {Patient/p1: x}, else: y}", "columns.b.map: a reference is not mapped", nil},
		{"a total of a number that is none", fhirLayout, "sum of e", "sum of d", "control.columns.s: d holds no numbers, so it has no sum", nil},
		{"a total of nothing", fhirLayout, "sum of e", "sum of x", `control.columns.s: there is no column to add up "x" from`, nil},
		{"a form of no date", fhirLayout, "as of YYYYMMDD", "as of today", `control.columns.d: "today" is no form of a date (write as of with one of YYYY-MM-DD, YYYYMMDD,`, nil},
		{"a control file without columns", fhirLayout, "{f: file, r: rows, s: sum of e, d: as of YYYYMMDD, t: CLV}", "{}", "control.columns: the file has no columns", nil},
		{"a control file that needs quotes", fhirLayout, "t: CLV", `t: "C|V"`, "control.columns.t: the text needs quotes", nil},
		{"rows by whom they are about", fhirLayout, "", "", "totals[1]: subject is an element, and a total is over one value", []string{totals, "totals: [rows, rows by subject]"}},
		{"rows by one value that tells whom they are about", fhirLayout, "{from: subject}", "{from: subject.reference}", "totals[1]: subject.reference is a link: counting by it would list people", []string{"subject: {do", "subject.reference: {do", totals, "totals: [rows, rows by subject.reference]"}},
		{"a sum of dates that are written otherwise", fhirLayout, "", "", "totals[0]: no column of the layout fhir holds effectiveDateTime in every row of Observation", []string{totals, "totals: [sum of effectiveDateTime]"}},
		{"a total of what is bound", fhirLayout, "{from: component.valueQuantity.value}", "{from: component.valueQuantity.value, when: {component.code.coding.code: 44250-9}}\n      e2: {from: component.valueQuantity.value, when: {component.code.coding.code: 44255-8}}",
			"totals[2]: no column of the layout fhir holds component.valueQuantity.value in every row of Observation", nil},
		{"row keys of NDJSON", fhirLayout, "", "", "output.row_key: a FHIR resource (Observation) has no place for a row key", []string{"layout: fhir", "layout: ndjson", totals, noTotals}},

		{"what is known of the person", fhirLayout, "{from: id}", "{from: id}\n      m: {from: member}\n      y: {from: age}\n      z: {from: years}", "", withPerson},
		{"an answer in bands", fhirLayout, "sum of e", "rows", "", []string{"component.valueQuantity.value: {do: keep}", "component.valueQuantity.value: {do: band, bands: [0-1, 2-3]}", totals, noTotals}},
		{"a look-up in a table", fhirLayout, "{from: id}", "{from: id}\n      m: {from: tin}", "release.Observation.fields.tin.from: an element of a FHIR resource is taken from itself", []string{"      id: {", "      tin: {from: practices.tin, by: id}\n      id: {"}},
		{"an age that is not the patient's", fhirLayout, "{from: id}", "{from: id}\n      m: {from: component.referenceRange.age.low.value}", "release.Observation.fields.\"component.referenceRange.age.low.value\".do: do: age gives the age of whom the record is about, and not what component.referenceRange.age.low.value says", []string{"      id: {", "      component.referenceRange.age.low.value: {do: age}\n      id: {"}},
		{"a column that the roster does not have", fhirLayout, "{from: id}", "{from: id}\n      m: {from: member}", `release.Observation.fields.member.from: the roster acme-roster has no column "membr"`, []string{"      id: {", "      member: {from: acme-roster.membr}\n      id: {"}},
		{"an age that is bound", fhirLayout, "{from: id}", "{from: id}\n      m: {from: member}\n      z: {from: years}\n      y: {from: age, when: {component.code.coding.code: 44250-9}}", "columns.y.when: what is known of the person stands in no element, so nothing is bound to it", withPerson},
		{"bound to an age", fhirLayout, "{from: id}", "{from: id, when: {age: 40-44}}\n      m: {from: member}\n      z: {from: years}\n      y: {from: age}", "columns.a.when: what is known of the person", withPerson},
		{"a member in NDJSON", fhirLayout, "", "", "release.Observation.fields.member.from: no FHIR element can hold what is known of the person (acme-roster.member_id)", append([]string{"layout: fhir", "layout: ndjson"}, withPerson...)},

		{"columns by a code", pivotLayout, "", "", "", plainScores},
		{"columns by a code, and the code", pivotLayout, "      k:", "      i: {from: instrument}\n      k:", "", plainScores},
		{"a total of a bound field", pivotLayout, "", "", "totals[2]: no column of the layout supplemental holds total_score in every row of scores", nil},
		{"a sum of a bound column", pivotLayout + "    trailer: [rows, sum of g]\n", "", "", "", plainScores},
		{"a sum of a bound field", pivotLayout + "    trailer: [rows, sum of total_score]\n", "", "", `there is no column to add up "total_score" from`, plainScores},
		{"another word than a rounded value", pivotLayout, "", "", "", append([]string{"total_score:  {do: keep", "total_score:  {do: round, to: 5"}, plainScores...)},
		{"a sum of bands", pivotLayout + "    trailer: [rows, sum of g]\n", "", "", "files.scores.trailer[1]: g holds no numbers, so it has no sum", append([]string{"total_score:  {do: keep", "total_score:  {do: band, bands: [0-4, 5-27]"}, plainScores...)},
		{"a code that no column takes", pivotLayout, `      h: {from: total_score, when: {instrument: 70274-6}, else: "-"}` + "\n", "", "columns.g.when: no column takes rows whose instrument is 70274-6 (add columns for them, or remove them from only:)", plainScores},
		{"a code that is not asked for", pivotLayout, "44261-6", "44261-7", `files.scores.columns.g.when.instrument: "44261-7" is none of the values that instrument can have (did you mean "44261-6"?)`, plainScores},
		{"codes that are not closed", pivotLayout, "", "", "columns.g.when: the values of instrument are no closed list", append([]string{"instrument: [44261-6, 70274-6], ", ""}, plainScores...)},
		{"codes that begin alike", pivotLayout, "", "", "columns.g.when: the values of instrument are no closed list", append([]string{"instrument: [44261-6, 70274-6]", "instrument: {prefix: [4, 7]}"}, plainScores...)},
		{"codes that are reduced", pivotLayout, "", "", "columns.g.when: the values of instrument are no closed list", append([]string{"instrument:   {do: keep", "instrument:   {do: ordinal"}, plainScores...)},
		{"codes that are mapped", strings.NewReplacer("44261-6", "PHQ", "70274-6", "GAD").Replace(pivotLayout), "", "", "", append([]string{"instrument:   {do: keep", "instrument:   {do: map, to: tools", "include:", "include:", "people:\n", "include: {tools: tools.yaml}\npeople:\n"}, plainScores...)},
		{"bound to nothing released", pivotLayout, "instrument: 44261-6", "tool: 44261-6", `columns.g.when.tool: "tool" is not among the released fields of scores`, plainScores},
		{"bound to two", pivotLayout, "{instrument: 44261-6}", "{instrument: 44261-6, sex: male}", "columns.g.when: a column is bound to one value of one field", plainScores},
		{"a constant that is bound", pivotLayout, "from: total_score, when: {instrument: 44261-6}", "constant: x, when: {instrument: 44261-6}", "columns.g.when: when: is about the value of a field", plainScores},
		{"bound to a coding system", fhirLayout, "{from: component.code.coding.code}", "{from: component.code.coding.code, when: {component.code.coding.system: http://loinc.org}}", "", []string{"      component.code.coding.code", "      component.code.coding.system: {do: keep}\n      component.code.coding.code", totals, noTotals}},
		{"bound to a code of the resource", fhirLayout, "{from: component.valueQuantity.value}", "{from: component.valueQuantity.value, when: {code.coding.code: 44249-1}}", "", []string{"      component.code.coding.code", "      code: {do: keep}\n      component.code.coding.code", "only: {", "only: {code: 44249-1, ", totals, noTotals}},
		{"bound to an open code of the resource", fhirLayout, "{from: component.valueQuantity.value}", "{from: component.valueQuantity.value, when: {code.coding.code: 44249-1}}", "columns.e.when: the values of code.coding.code are no closed list", []string{"      component.code.coding.code", "      code: {do: keep}\n      component.code.coding.code", totals, noTotals}},
		{"an extension", fhirLayout, "{from: id}", "{from: id}\n      x: {from: us-core-birthsex}\n      y: {from: us-core-race.ombCategory.valueCoding.code}", "", []string{"      id:", "      us-core-birthsex: {do: keep}\n      us-core-race: {do: keep}\n      id:"}},
	} {
		lay := laidFHIR
		if strings.Contains(c.layout, "  scores:") {
			lay = laid
		}
		if i := len(c.policy); i > 4 && c.policy[2] == "include:" {
			c.policy = append(c.policy[:2], c.policy[4:]...)
		}
		c.check(t, lay)
	}
}

// A column may be bound to a value that the schema lists.
func TestBoundToAValueOfTheSchema(t *testing.T) {
	bound := strings.NewReplacer("g: {from: total_score, when: {instrument: 44261-6}}", "g: {from: instrument}\n      x: {from: total_score, when: {sex: female}}",
		"h: {from: total_score, when: {instrument: 70274-6}, else: \"-\"}", "h: {from: total_score, when: {sex: male}}").Replace(pivotLayout)
	p, _ := laid(t, bound, "totals: [people, rows, sum of total_score, rows by instrument]", noTotals)
	env := layoutEnv(t)
	for _, listed := range [][]string{{"female", "male"}, {"female", "male", "other", "unknown"}} {
		env.Schemas["scores"] = enumerated(t, listed...)
		if _, err := Check(p, env); (err != nil) != (len(listed) > 2) || err != nil && !strings.Contains(err.Error(), "no column takes rows whose sex is other or unknown") {
			t.Errorf("of %v: got %v", listed, err)
		}
	}
}

// What the proof says of columns by code, of rows of elements and of a control
// file; a day of the release does not leave under Safe Harbor.
func TestLayoutOfResourcesInTheProof(t *testing.T) {
	p, err := laidFHIR(t, strings.Replace(fhirLayout, "      k:", "      g: {from: component.valueQuantity.value, when: {component.code.coding.code: 44250-9}}\n      h: {from: component.valueQuantity.value, when: {component.code.coding.code: 44255-8}}\n      k:", 1))
	if err != nil {
		t.Fatal(err)
	}
	proof, err := Check(p, layoutEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(strings.Fields(proof.String()), " ")
	for _, want := range []string{
		"filled for one code only: Observation.g by component.code.coding.code 44250-9, Observation.h by component.code.coding.code 44255-8",
		"a row for each component of Observation",
		"a control file with names, rows, the sum of e and the as-of date; rows keep",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the proof does not say %q:\n%s", want, proof)
		}
	}
	if !strings.HasSuffix(p.Layout.adds(true), "and the as-of date, and one of its own for files with Part 2 rows") {
		t.Errorf("got %s", p.Layout.adds(true))
	}
	p.Standard = ExpertDetermination
	if _, err := Check(p, layoutEnv(t)); err == nil || !strings.Contains(err.Error(), "control.columns.d: under expert-determination no day leaves, not even that of the release (write as of YYYY)") {
		t.Errorf("got %v", err)
	}
}

// A column bound to a code tells less than one that is not.
func TestBoundColumnsCompared(t *testing.T) {
	whole := fhirLayout
	bound := strings.Replace(fhirLayout, "d: {from: component.code.coding.code}\n      e: {from: component.valueQuantity.value}",
		"d: {from: component.valueQuantity.value, when: {component.code.coding.code: 44250-9}}\n      e: {from: component.valueQuantity.value, when: {component.code.coding.code: 44255-8}}", 1)
	year := strings.Replace(bound, "date: YYYYMMDD}", "date: YYYY, when: {component.code.coding.code: 44250-9}}", 1)
	coarse := strings.Replace(bound, "44250-9}}", "44250-9}, map: {\"0\": none}, else: some}", 1)
	for _, c := range []struct{ name, old, new, widens string }{
		{"whole, then bound", whole, bound, ""},
		{"bound, then whole", bound, whole, "form component.code.coding.code; form component.valueQuantity.value"},
		{"a bound year, then a day", year, bound, "form effectiveDateTime"},
		{"a bound map, then values", coarse, bound, "form component.valueQuantity.value"},
	} {
		var of [2]*Policy
		for i, layout := range []string{c.old, c.new} {
			var err error
			if of[i], err = laidFHIR(t, layout, "totals: [people, rows, sum of component.valueQuantity.value, rows by component.code.coding.code]", noTotals); err != nil {
				t.Fatal(err)
			}
		}
		if got := brief(Compare(of[0], of[1], layoutEnv(t), layoutEnv(t)).Widens); got != c.widens {
			t.Errorf("%s: widens %q, want %q", c.name, got, c.widens)
		}
	}
}
