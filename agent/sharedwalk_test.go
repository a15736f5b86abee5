package agent_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// walked is one record as this test reads it: by encoding/json into maps,
// knowing nothing of package extract.
type walked struct {
	file     string
	line     int
	entry    int
	dataset  string // resourceType, or (unreadable)
	id       string
	raw      string
	members  map[string]any
	broken   string // the reason for which it cannot be used, "" when it can
	urls     map[string]string
	patients []string // ids of all patients that it refers to
}

func (w *walked) String() string {
	return fmt.Sprintf("%s,%d,%d,%s", w.file, w.line, w.entry, w.dataset)
}

// concerns says, for the types in the shared data that must concern a patient,
// which element names the patient (FHIR R4, patient compartment).
var concerns = map[string]string{
	"AllergyIntolerance": "patient", "CarePlan": "subject", "CareTeam": "subject", "Claim": "patient", "Condition": "subject", "Consent": "patient",
	"Coverage": "beneficiary", "DiagnosticReport": "subject", "DocumentReference": "subject", "Encounter": "subject", "ExplanationOfBenefit": "patient",
	"Goal": "subject", "ImagingStudy": "subject", "Immunization": "patient", "MedicationAdministration": "subject", "MedicationDispense": "subject",
	"MedicationRequest": "subject", "Observation": "subject", "Procedure": "subject", "ServiceRequest": "subject",
}

// walkFolder reads every data file of a folder, in byte order of their names.
func walkFolder(t testing.TB, folder string, ignore string) []*walked {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ignore {
			name, _ := filepath.Rel(folder, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	slices.Sort(names)
	var all []*walked
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(folder, name))
		must(t, err)
		if strings.HasSuffix(name, ".gz") {
			plain, err := gzip.NewReader(bytes.NewReader(data))
			must(t, err)
			data, err = io.ReadAll(plain)
			must(t, err)
		}
		if strings.Contains(name, ".ndjson") {
			all = append(all, walkLines(name, data)...)
		} else {
			all = append(all, walkDocument(t, name, data)...)
		}
	}
	return all
}

func walkLines(name string, data []byte) []*walked {
	var all []*walked
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, walk(name, i+1, 0, line, "", nil))
		}
	}
	return all
}

// walkDocument reads a file with one resource, or a Bundle by its entries.
func walkDocument(t testing.TB, name string, data []byte) []*walked {
	t.Helper()
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var bundle struct {
		ResourceType, Type string
		Entry              []struct {
			FullURL  string `json:"fullUrl"`
			Resource json.RawMessage
		}
	}
	must(t, json.Unmarshal(data, &bundle))
	if bundle.ResourceType != "Bundle" {
		return []*walked{walk(name, 1, 0, strings.TrimSpace(string(data)), "", nil)}
	}
	if !slices.Contains([]string{"transaction", "batch", "collection", "searchset"}, bundle.Type) {
		return []*walked{{file: name, line: 1, dataset: "Bundle", broken: "schema"}}
	}
	urls := map[string]string{}
	for _, e := range bundle.Entry {
		var head struct{ ResourceType, ID string }
		must(t, json.Unmarshal(e.Resource, &head))
		if head.ID == "" {
			head.ID = e.FullURL[strings.LastIndexAny(e.FullURL, ":/")+1:]
		}
		urls[e.FullURL] = head.ResourceType + "/" + head.ID
	}
	var all []*walked
	at := 0
	for i, e := range bundle.Entry {
		n := bytes.Index(data[at:], e.Resource)
		if n < 0 {
			t.Fatalf("%s: entry %d cannot be found again", name, i+1)
		}
		at += n
		line := bytes.Count(data[:at], []byte("\n")) + 1
		all = append(all, walk(name, line, i+1, string(e.Resource), e.FullURL, urls))
	}
	return all
}

func walk(file string, line, entry int, raw, fullURL string, urls map[string]string) *walked {
	w := &walked{file: file, line: line, entry: entry, dataset: "(unreadable)", raw: raw, urls: urls}
	if json.Unmarshal([]byte(raw), &w.members) != nil {
		w.broken = "malformed"
		return w
	}
	w.dataset, _ = w.members["resourceType"].(string)
	w.id, _ = w.members["id"].(string)
	if w.id == "" && fullURL != "" {
		w.id = fullURL[strings.LastIndexAny(fullURL, ":/")+1:]
	}
	w.refer(w.members)
	switch named, must := concerns[w.dataset]; {
	case w.dataset == "Patient":
		w.patients = []string{w.id}
		if w.id == "" {
			w.broken = "no-subject"
		}
	case must && !strings.HasPrefix(w.resolve(w.text(named+".reference")), "Patient/"):
		w.broken = "no-subject"
	}
	return w
}

// refer gathers every reference of the record.
func (w *walked) refer(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			w.refer(e)
		}
	case map[string]any:
		for name, e := range v {
			if ref, ok := e.(string); ok && name == "reference" {
				target := w.resolve(ref)
				if id, ok := strings.CutPrefix(target, "Patient/"); ok && !slices.Contains(w.patients, id) {
					w.patients = append(w.patients, id)
				}
			}
			w.refer(e)
		}
	}
}

// resolve gives Type/id.
func (w *walked) resolve(ref string) string {
	if name, ok := w.urls[ref]; ok {
		return name
	}
	if strings.Contains(ref, "?") || strings.HasPrefix(ref, "#") {
		return ""
	}
	if parts := strings.Split(ref, "/"); len(parts) > 2 {
		return strings.Join(parts[len(parts)-2:], "/")
	}
	return ref
}

// text gives the string at a path of member names, "" when there is none.
func (w *walked) text(path string) string {
	var v any = w.members
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// sharedRule is what a policy of testdata asks for in one dataset, written
// down a second time, by hand.
type sharedRule struct {
	status   []string
	codes    []string
	date     []string // elements with the date of service, the first that is there counts
	from, to string   // days; empty means the year before as-of
	sites    string   // element whose reference is released
}

var (
	encounterDate   = []string{"period.start"}
	procedureDate   = []string{"performedDateTime", "performedPeriod.start"}
	observationDate = []string{"effectiveDateTime", "effectivePeriod.start", "effectiveInstant", "issued"}
	conditionDate   = []string{"recordedDate", "onsetDateTime", "onsetPeriod.start"}
	reportDate      = []string{"period.start", "date"}
)

var sharedRules = map[string]map[string]sharedRule{
	"identified": {
		"Patient": {}, "Condition": {}, "MeasureReport": {}, "Consent": {}, "Organization": {},
		"Encounter":         {status: []string{"finished"}, date: encounterDate, from: "2010-01-01", to: "2025-12-31", sites: "serviceProvider.reference"},
		"Observation":       {status: []string{"final", "amended"}},
		"Procedure":         {date: procedureDate, from: "2012-01-01", to: "2018-12-31"},
		"MedicationRequest": {status: []string{"active", "stopped"}},
	},
	"safe-harbor": {
		"Patient":       {},
		"Condition":     {date: conditionDate},
		"MeasureReport": {date: reportDate},
		"Encounter":     {date: encounterDate, from: "2010-01-01", to: "2025-12-31"},
		"Observation":   {status: []string{"final", "amended"}, date: observationDate, codes: []string{"44261-6", "55758-7", "70274-6", "75626-2", "82667-7", "8302-2", "29463-7", "72514-3"}},
	},
}

// sharedPeople are the patients that the registry of a test speaks of.
type sharedPeople struct{ closed map[string]map[string]bool } // by exchange

// outside gives the reason for which a rule leaves a record out.
func (r sharedRule) outside(w *walked, asOf string) string {
	if len(r.date) > 0 {
		day, from, to := "", r.from, r.to
		if from == "" {
			var year int
			_, _ = fmt.Sscan(asOf[:4], &year)
			from, to = fmt.Sprintf("%d-01-01", year-1), fmt.Sprintf("%d-12-31", year-1)
		}
		for _, path := range r.date {
			if day = w.text(path); day != "" {
				break
			}
		}
		if day = day[:min(10, len(day))]; day == "" || day+"-01-01"[len(day)-4:][:10-len(day)] < from || day+"-12-31"[len(day)-4:][:10-len(day)] > to {
			return "period"
		}
	}
	if len(r.status) > 0 && !slices.Contains(r.status, w.text("status")) || len(r.codes) > 0 && !slices.ContainsFunc(codesOf(w), func(c string) bool { return slices.Contains(r.codes, c) }) {
		return "measure"
	}
	return ""
}

// codesOf are the codes of a record's own code.
func codesOf(w *walked) (codes []string) {
	concept, _ := w.members["code"].(map[string]any)
	codings, _ := concept["coding"].([]any)
	for _, c := range codings {
		code, _ := c.(map[string]any)["code"].(string)
		codes = append(codes, code)
	}
	return codes
}

// judge gives every record's reason, "" for a released one.
func judge(all []*walked, exchange, asOf string, people sharedPeople) map[*walked]string {
	copies := map[string][]*walked{}
	for _, w := range all {
		if w.broken == "" && w.id != "" {
			copies[w.dataset+"/"+w.id] = append(copies[w.dataset+"/"+w.id], w)
		}
	}
	linked := map[string]bool{} // patients who are said to be one person with another
	for _, w := range all {
		links, _ := w.members["link"].([]any)
		for _, l := range links {
			if w.dataset == "Patient" && w.broken == "" {
				other := l.(map[string]any)["other"].(map[string]any)["reference"].(string)
				linked[w.id], linked[strings.TrimPrefix(other, "Patient/")] = true, true
			}
		}
	}
	why, sites, waiting := map[*walked]string{}, map[string]bool{}, []*walked(nil)
	for _, w := range all {
		rule, named := sharedRules[exchange][w.dataset]
		same := copies[w.dataset+"/"+w.id]
		differ := slices.ContainsFunc(same, func(o *walked) bool { return o.raw != same[0].raw })
		denied := slices.ContainsFunc(w.patients, func(id string) bool { return people.closed[exchange][id] })
		_, modified := w.members["modifierExtension"]
		switch {
		case w.broken != "":
			why[w] = w.broken
		case differ:
			why[w] = "conflict"
		case len(same) > 1 && same[0] != w:
			why[w] = "repeated"
		case !named:
			why[w] = "not-named"
		case rule.outside(w, asOf) != "":
			why[w] = rule.outside(w, asOf)
		case denied && exchange == "identified":
			why[w] = "consent-denied"
		case slices.ContainsFunc(w.patients, func(id string) bool { return linked[id] }):
			why[w] = "merge-unresolved"
		case restsOnWithheld(w, copies, func(o *walked) bool {
			return slices.ContainsFunc(o.patients, func(id string) bool { return people.closed[exchange][id] || linked[id] })
		}):
			why[w] = "derived-from-withheld"
		case denied:
			why[w] = "clinic-choice"
		case modified:
			why[w] = "unsafe"
		case len(w.patients) == 0:
			waiting = append(waiting, w)
		default:
			why[w] = ""
			if rule.sites != "" {
				sites[w.resolve(w.text(rule.sites))] = true
			}
		}
	}
	for _, w := range waiting { // about no patient: goes with what refers to it
		if why[w] = "population"; sites[w.dataset+"/"+w.id] {
			why[w] = ""
		}
	}
	return why
}

// restsOnWithheld tells whether evidence that a record names is kept back, is
// not there, or rests itself on such evidence.
func restsOnWithheld(w *walked, copies map[string][]*walked, closed func(*walked) bool) bool {
	for _, element := range []string{"evaluatedResource", "derivedFrom", "hasMember"} {
		list, _ := w.members[element].([]any)
		for _, e := range list {
			ref, _ := e.(map[string]any)["reference"].(string)
			same := copies[w.resolve(ref)]
			if len(same) == 0 || closed(same[0]) || restsOnWithheld(same[0], copies, closed) {
				return true
			}
		}
	}
	return false
}

// dispositionOf says to which of the six a reason belongs.
func dispositionOf(reason string) string {
	switch reason {
	case "":
		return "released"
	case "malformed", "schema", "no-subject", "conflict", "unsafe":
		return "rejected"
	case "repeated":
		return "duplicate"
	case "consent-denied", "merge-unresolved", "derived-from-withheld", "clinic-choice":
		return "withheld"
	default:
		return "out-of-scope"
	}
}

// sharedRegistry closes the door for every fifth patient, and opts another
// fifth out of registries.
func sharedRegistry(all []*walked) (sharedPeople, string) {
	var ids []string
	for _, w := range all {
		if w.dataset == "Patient" && w.id != "" {
			ids = append(ids, w.id)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	p := sharedPeople{map[string]map[string]bool{"identified": {}, "safe-harbor": {}}}
	csv := "patient,scope,decision,status,from,source_document\n"
	for i, id := range ids {
		switch i % 5 {
		case 1:
			p.closed["identified"][id] = true
			csv += id + ",general,deny,active,2020-01-01,form.pdf\n"
		case 2:
			p.closed["safe-harbor"][id] = true
			csv += id + ",registry-opt-out,deny,active,2020-01-01,form.pdf\n"
		}
	}
	return p, csv
}
