package consent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// merged gives a world whose people are merged before anything else is read.
func merged(t *testing.T, rows ...string) *world {
	t.Helper()
	w := newWorld(t)
	w.tables = NewTables()
	m := w.tables.Merges
	in, err := m.Load(w.file("merges.csv", "from,into,status,ended_on,ended_by", pad(rows, 4)))
	w.must(err)
	if in.Rows != len(rows) || len(in.SHA256) != 64 {
		t.Errorf("read %d rows of %d", in.Rows, len(rows))
	}
	w.must(m.Settle())
	w.roster("p1,M1,2026-01-01,", "p2,M2,2026-01-01,", "p3,M3,2026-01-01,")
	return w
}

func pad(rows []string, commas int) []string {
	for i, row := range rows {
		rows[i] = row + strings.Repeat(",", commas-strings.Count(row, ","))
	}
	return rows
}

func TestMerges(t *testing.T) {
	old, present := score("old", "2026-03-02"), score("p1", "2026-03-02")
	for name, c := range map[string]struct {
		merges  []string
		set     func(*world)
		f       extract.Facts
		reasons string
	}{
		"a denial under the id given up binds the other":  {[]string{"old,p1"}, func(w *world) { w.registry("old,general,deny,active") }, present, "consent-denied"},
		"a denial under the id that stands binds both":    {[]string{"old,p1"}, func(w *world) { w.registry("p1,general,deny,active") }, old, "consent-denied"},
		"through a third id":                              {[]string{"older,old", "old,p1"}, func(w *world) { w.registry("older,general,deny,active") }, present, "consent-denied"},
		"through a third id, told the other way round":    {[]string{"old,p1", "older,old"}, func(w *world) { w.registry("older,general,deny,active") }, present, "consent-denied"},
		"a permit is carried along":                       {[]string{"old,p1"}, func(w *world) { w.general(policies.DenyWithout).registry("old,general,permit,active") }, present, ""},
		"a restriction is carried along":                  {[]string{"old,p1"}, func(w *world) { w.restrict("old,self-pay,,,,,,,,") }, present, "restriction-self-pay"},
		"membership is carried along":                     {[]string{"old,p1"}, func(*world) {}, old, ""},
		"not merged, not a member":                        {nil, func(w *world) { w.tables.People.Intern([]byte("old")) }, old, "not-a-member"},
		"told twice":                                      {[]string{"old,p1", "Patient/old,Patient/p1,merged"}, func(*world) {}, old, ""},
		"nobody has decided":                              {[]string{"old,p1,unresolved"}, func(*world) {}, present, "merge-unresolved"},
		"two lists disagree":                              {[]string{"old,p1", "old,p1,unresolved"}, func(*world) {}, present, "merge-unresolved"},
		"given up for two":                                {[]string{"old,p1", "old,p2"}, func(*world) {}, score("p2", "2026-03-02"), "merge-unresolved"},
		"given up for two, seen from the first":           {[]string{"old,p1", "old,p2"}, func(*world) {}, old, "not-a-member,merge-unresolved"},
		"each given up for the other":                     {[]string{"old,p1", "p1,old"}, func(w *world) { w.roster("old,M1,2026-01-01,") }, present, "not-a-member,merge-unresolved"},
		"given up for two joins neither, in either order": {[]string{"old,p1", "old,p2"}, func(w *world) { w.registry("p1,general,deny,active") }, old, "not-a-member,merge-unresolved"},
		"given up for two, the other first":               {[]string{"old,p2", "old,p1"}, func(w *world) { w.registry("p1,general,deny,active") }, old, "not-a-member,merge-unresolved"},
		"a circle of three joins nobody":                  {[]string{"p1,x", "x,y", "y,p1"}, func(w *world) { w.registry("x,general,deny,active") }, present, "merge-unresolved"},
		"a circle through who is given up for two":        {[]string{"p1,x", "x,p1", "x,y"}, func(w *world) { w.registry("x,general,deny,active") }, present, "merge-unresolved"},
		"a circle through who is given up for two, later": {[]string{"p1,x", "x,y", "x,p1"}, func(w *world) { w.registry("x,general,deny,active") }, present, "merge-unresolved"},
		"who is given up for one of a circle is that one": {[]string{"p1,x", "x,p1", "z,p1"}, func(w *world) { w.registry("z,general,deny,active") }, present, "consent-denied,merge-unresolved"},
		"taken back":                {[]string{"old,p1,,2026-05-01,officer"}, func(w *world) { w.registry("old,general,deny,active") }, present, ""},
		"taken back in another row": {[]string{"old,p1", "old,p1,,2026-05-01,officer"}, func(w *world) { w.registry("old,general,deny,active") }, present, ""},
		"an unresolved pair says nothing about a third":     {[]string{"old,p1,unresolved"}, func(*world) {}, score("p2", "2026-03-02"), ""},
		"a restriction under an id that may be the same":    {[]string{"old,p1,unresolved"}, func(w *world) { w.treatment() }, present, "merge-unresolved"},
		"unresolved, where neither consent nor others bind": {[]string{"old,p1,unresolved"}, func(w *world) { w.safeHarbor() }, present, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := merged(t, c.merges...)
			c.set(w)
			w.expect(c.f, c.reasons)
		})
	}
}

func TestMergesFromPatients(t *testing.T) {
	patient := func(id, links string) string {
		return `{"resourceType":"Patient","id":"` + id + `","link":[` + links + `]}`
	}
	link := func(to, kind string) string { return `{"other":{"reference":"` + to + `"},"type":"` + kind + `"}` }
	load := func(lines ...string) (*People, error) {
		w, people := newWorld(t), NewPeople()
		path := w.file("patients.ndjson", lines[0], lines[1:])
		file, err := extract.FileAt(path, &extract.FileRule{Format: extract.FHIRNDJSON})
		w.must(err)
		m := NewMerges(people)
		in, err := m.LoadPatients(context.Background(), []extract.File{file})
		if err == nil && in.Rows != 2 {
			t.Errorf("%d patients", in.Rows)
		}
		return people, errors.Join(err, m.Settle())
	}
	is := func(p *People, a, b string) bool { return p.Intern([]byte(a)) == p.Intern([]byte(b)) }

	people, err := load(`{"resourceType":"Organization"}`,
		patient("a", link("Patient/b", "replaced-by")+","+link("https://ehr.example/fhir/Patient/c", "replaces")+","+link("RelatedPerson/r", "seealso")+","+link("Patient/a", "refer")),
		patient("d", link("Patient/e", "seealso")))
	if err != nil {
		t.Fatal(err)
	}
	if !is(people, "a", "b") || !is(people, "c", "b") || is(people, "d", "e") || is(people, "r", "a") {
		t.Error("the wrong ones are merged")
	}
	var names []string
	for _, id := range people.IDs(people.Intern([]byte("c"))) {
		names = append(names, string(id))
	}
	if got := strings.Join(names, " "); got != "b a c" {
		t.Errorf("ids %q", got)
	}
	for _, id := range []string{"d", "e"} {
		if _, open := people.unsettled[people.Intern([]byte(id))]; !open {
			t.Errorf("%s is settled", id)
		}
	}
	for _, broken := range []string{`{"resourceType":"Patient","id":"a"`, patient("a", `{"type":"replaced-by"}`), patient("a", link("Patient?identifier=9", "replaced-by")),
		`{"resourceType":"Patient","link":[` + link("Patient/b", "replaced-by") + `]}`} {
		var input *InputError
		if _, err := load(broken); !errors.As(err, &input) || input.Line != 1 {
			t.Errorf("error %v", err)
		}
	}
}

func TestAMergeThatVanishedHolds(t *testing.T) {
	w := newWorld(t)
	read := func(kept []ClosingRow, rows ...string) (*Merges, error) {
		m := NewMerges(NewPeople())
		_, err := m.Load(w.file("merges.csv", "from,into,status,ended_on,ended_by", pad(rows, 4)))
		w.must(err)
		return m, m.Restore(kept)
	}
	first, err := read(nil, "old,p1", "x,y,unresolved", "a,b,,2026-05-01,officer")
	w.must(err)
	kept := first.Closing()
	if len(kept) != 2 {
		t.Fatalf("%d merges outlive their rows", len(kept))
	}
	later, err := read(kept)
	w.must(err)
	w.must(later.Settle())
	people := later.people
	if people.Intern([]byte("old")) != people.Intern([]byte("p1")) || len(people.unsettled) != 2 {
		t.Error("a merge whose row vanished is forgotten")
	}
	ended, err := read(kept, "old,p1,,2026-06-01,officer")
	w.must(err)
	w.must(ended.Settle())
	if people := ended.people; people.Intern([]byte("old")) == people.Intern([]byte("p1")) || len(ended.Closing()) != 1 {
		t.Error("an end does not end a kept merge")
	}
	for i := range kept[0].Data {
		if _, err := read([]ClosingRow{{kept[0].Key, kept[0].Data[:i]}}); err == nil {
			t.Errorf("a kept merge cut after %d bytes is taken", i)
		}
	}
}

// An end counts from its day on; until then the row closes, and outlives its file.
func TestAnEndOfAMergeThatHasNotCome(t *testing.T) {
	w := newWorld(t)
	for on, one := range map[string]bool{"2026-07-05": true, "2026-07-06": false} {
		m := NewMerges(NewPeople())
		m.On = day(on)
		_, err := m.Load(w.file("merges.csv", "from,into,ended_on,ended_by", []string{"old,p1,2026-07-06,officer"}))
		w.must(errors.Join(err, m.Settle()))
		if p := m.people; (p.Intern([]byte("old")) == p.Intern([]byte("p1"))) != one || (len(m.Closing()) == 1) != one {
			t.Errorf("on %s", on)
		}
	}
}

func TestMergesInDoubt(t *testing.T) {
	w := newWorld(t)
	m := NewMerges(NewPeople())
	path := w.file("merges.csv", "from,into,status", []string{"a,b,", "a,c,", "d,e,unresolved", "f,g,"})
	_, err := m.Load(path)
	w.must(err)
	kept := NewMerges(NewPeople())
	_, err = kept.Load(w.file("earlier.csv", "from,into,status", []string{"h,i,unresolved"}))
	w.must(errors.Join(err, m.Restore(kept.Closing())))
	var lines []string
	for _, d := range m.Doubts() {
		lines = append(lines, fmt.Sprint(filepath.Base(d.File), d.Line, d.Earlier))
	}
	if got := strings.Join(lines, " "); got != "merges.csv2 false merges.csv3 false merges.csv4 false .0 true" {
		t.Errorf("doubts: %s", got)
	}
}

func TestMergesRefuse(t *testing.T) {
	w := newWorld(t)
	for row, why := range map[string]string{
		"a,,,,": "into is empty", ",b,,,": "from is empty", "a,a,,,": "the same id", "a,b,perhaps,,": "status is none", "a,b,,2026-01-01,": "an end needs",
	} {
		_, err := NewMerges(NewPeople()).Load(w.file("merges.csv", "from,into,status,ended_on,ended_by", []string{row}))
		var input *InputError
		if !errors.As(err, &input) || input.Line != 2 || !strings.Contains(input.Why, why) {
			t.Errorf("%s: %v", row, err)
		}
	}
	if err := NewMerges(w.tables.People).Settle(); !errors.Is(err, errMergesLate) {
		t.Errorf("merges are settled after others have named patients: %v", err)
	}
}

// TestWhoeverIsMergedIsOne holds merging against the words of the rule: ids
// that are given up for one another, directly or through others, are one.
func TestWhoeverIsMergedIsOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := NewMerges(NewPeople())
		group := map[int]int{}
		for i := range 10 {
			group[i] = i
		}
		for from := range rapid.IntRange(0, 9).Draw(t, "pairs") { // each is given up once, for one with a higher number
			into := rapid.IntRange(from+1, 10).Draw(t, "into") % 10
			if into == 0 {
				continue
			}
			m.add(merge{from: name(from), into: name(into), ended: extract.NoDay})
			was := group[from]
			for i, g := range group {
				if g == was {
					group[i] = group[into]
				}
			}
		}
		if err := m.Settle(); err != nil {
			t.Fatal(err)
		}
		for a := range 10 {
			for b := range 10 {
				one := m.people.Intern([]byte(name(a))) == m.people.Intern([]byte(name(b)))
				if one != (group[a] == group[b]) {
					t.Fatalf("%d and %d are one: %v", a, b, one)
				}
			}
		}
		if len(m.people.unsettled) > 0 {
			t.Fatal("a merge without contradiction is unresolved")
		}
	})
}

func name(n int) phi.Text { return phi.Text(fmt.Sprintf("id-%d", n)) }
