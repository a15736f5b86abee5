package consent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"slices"
	"testing"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// persons says who is one person, and of whom nobody has decided it.
type persons struct {
	into map[string]string
	open []string
}

// person is the id that stands for an id.
func (s *situation) person(id string) string {
	s.settle()
	for s.persons.into[id] != "" {
		id = s.persons.into[id]
	}
	return id
}

// personsOf are those whom a record is about, each once.
func (s *situation) personsOf(r *record) (all []string) {
	for _, id := range r.subjects {
		if p := s.person(id); !slices.Contains(all, p) {
			all = append(all, p)
		}
	}
	return all
}

func (s *situation) unresolved(person string) bool {
	return slices.ContainsFunc(s.persons.open, func(id string) bool { return s.person(id) == person })
}

// settle goes over the merges until nothing more follows from them: a link
// that takes back none counts as a line of the list. An id that is given up
// for two others, or in a circle, is settled for nobody.
func (s *situation) settle() {
	if s.persons != nil {
		return
	}
	s.persons = &persons{into: map[string]string{}}
	var unsettled [][2]string
	given := map[string][]string{}
	for _, m := range s.standingMerges() {
		if m["status"] == "unresolved" {
			unsettled = append(unsettled, [2]string{m["from"], m["into"]})
		} else if !slices.Contains(given[m["from"]], m["into"]) {
			given[m["from"]] = append(given[m["from"]], m["into"])
		}
	}
	for from, others := range given {
		if len(others) > 1 || reaches(given, others[0], from) {
			s.persons.open = append(append(s.persons.open, from), others...)
			continue
		}
		s.persons.into[from] = others[0]
	}
	for _, pair := range unsettled {
		s.persons.open = append(s.persons.open, pair[0], pair[1])
	}
	for _, p := range s.patients {
		if p["linked_to"] != "" {
			s.persons.open = append(s.persons.open, p["id"])
		}
	}
}

func reaches(given map[string][]string, from, to string) bool {
	seen := map[string]bool{}
	for next := []string{from}; len(next) > 0; {
		id := next[0]
		if next = next[1:]; id == to {
			return true
		}
		if !seen[id] {
			seen[id] = true
			next = append(next, given[id]...)
		}
	}
	return false
}

// standingMerges are the lines of the list and of the links that no line ends.
func (s *situation) standingMerges() (rows []row) {
	all := slices.Clone(s.merges)
	for _, l := range s.links {
		m := row{"from": l["from"], "into": l["into"], "status": "unresolved"}
		switch l["type"] {
		case "replaced-by":
			m["status"] = "merged"
		case "replaces":
			m = row{"from": l["into"], "into": l["from"], "status": "merged"}
		}
		all = append(all, m)
	}
	return slices.DeleteFunc(all, func(m row) bool {
		return slices.ContainsFunc(s.merges, func(end row) bool {
			return end["ended_on"] != "" && end["ended_on"] <= s.today() && end["from"] == m["from"] && end["into"] == m["into"]
		})
	})
}

// loadMerges has the list and the links read, and settled before all else.
func (e *engine) loadMerges(t testing.TB, s *situation, folder string) error {
	if len(s.merges)+len(s.links) == 0 {
		return nil
	}
	e.tables.Merges = consent.NewMerges(e.tables.People)
	e.tables.Merges.On = dayOf(s.today()).From
	if _, err := e.tables.Merges.Load(writeTable(t, folder, "merges.csv", mergeColumns, s.merges)); err != nil {
		return err
	}
	var patients bytes.Buffer
	for _, l := range s.links {
		err := json.NewEncoder(&patients).Encode(map[string]any{"resourceType": "Patient", "id": l["from"],
			"link": []any{map[string]any{"type": l["type"], "other": map[string]any{"reference": "Patient/" + l["into"]}}}})
		if err != nil {
			return err
		}
	}
	if patients.Len() > 0 {
		file := writeFile(t, folder, "patients.ndjson", patients.String())
		if _, err := e.tables.Merges.LoadPatients(context.Background(), []extract.File{ndjson(file, patients.Len())}); err != nil {
			return err
		}
	}
	return e.tables.Merges.Settle()
}

// derive is step 6, told over and over until nothing changes: what rests on
// something that stays, stays. Of what is not there, only who sees one record
// at a time must think that it stays.
func (s *situation) derive(all []*opinion) {
	for changed := true; changed; {
		changed = false
		for i := range s.records {
			for _, evidence := range s.records[i].facts().derived {
				if o := all[i]; !o.reasons["derived-from-withheld"] && s.staysBack(evidence, all) {
					o.because("derived-from-withheld")
					o.effect, changed = "deny", true
				}
			}
		}
	}
}

func (s *situation) staysBack(id string, all []*opinion) bool {
	found := false
	for i := range s.records {
		if r := &s.records[i]; r.id == id {
			if len(all[i].reasons) > 0 {
				return true
			}
			found = true
		}
	}
	return !found && s.oneByOne
}

// opinions is the second opinion on all records together.
func (s *situation) opinions() (all []*opinion) {
	for i := range s.records {
		all = append(all, s.opinionOn(s.records[i].facts()))
	}
	s.derive(all)
	return all
}

// facts are what is written of a record, or in its resource.
func (r *record) facts() *record {
	if r.data != nil {
		return factsWritten(r)
	}
	return r
}

// decideAll asks the engine about all records together, step 6 included.
func (e *engine) decideAll(t testing.TB, s *situation) []consent.Decision {
	all := make([]consent.Decision, len(s.records))
	var traces []consent.Trace
	for i := range s.records {
		r := &s.records[i]
		facts := e.factsOf(t, r)
		all[i] = e.decider.Decide(facts)
		traces = append(traces, consent.Trace{Name: nameOf(r.dataset + "/" + r.id), Ordinal: int64(i), Withheld: all[i].Reasons != 0})
		for _, evidence := range r.derived {
			traces = append(traces, consent.Trace{Name: nameOf(s.fullName(evidence)), Ordinal: int64(i), Evidence: true})
		}
		for _, evidence := range facts.Evidence {
			traces = append(traces, consent.Trace{Name: nameOf(string(evidence)), Ordinal: int64(i), Evidence: true})
		}
	}
	slices.SortFunc(traces, func(a, b consent.Trace) int {
		if c := slices.Compare(a.Name[:], b.Name[:]); c != 0 || a.Evidence == b.Evidence {
			return c
		} else if a.Evidence {
			return 1
		}
		return -1
	})
	derived, err := consent.DeriveWithheld(int64(len(all)), s.oneByOne, func(each func(consent.Trace)) error {
		for _, trace := range traces {
			each(trace)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range all {
		if derived.Has(int64(i)) {
			all[i].Reasons = all[i].Reasons.With(reasonNamed("derived-from-withheld"))
		}
	}
	return all
}

// fullName gives the id of a record its type.
func (s *situation) fullName(id string) string {
	for i := range s.records {
		if s.records[i].id == id {
			return s.records[i].dataset + "/" + id
		}
	}
	return "Observation/" + id
}

func nameOf(full string) [2]uint64 {
	h := fnv.New128a()
	h.Write([]byte(full))
	sum := h.Sum(nil)
	return [2]uint64{binary.BigEndian.Uint64(sum), binary.BigEndian.Uint64(sum[8:])}
}
