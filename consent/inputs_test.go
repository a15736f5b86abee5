package consent

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
	"pgregory.net/rapid"
)

// loaders read a protective input of each kind from a file.
var loaders = map[string]func(path string) error{
	"registry": func(path string) error {
		_, err := NewDirectives(NewPeople()).LoadRegistry(path)
		return err
	},
	"restrictions": func(path string) error { _, err := loadRestrictions(path, NewPeople()); return err },
	"roster":       func(path string) error { _, err := LoadRoster(path, NewPeople()); return err },
	"programs":     func(path string) error { _, err := loadPrograms(path); return err },
	"attribution":  func(path string) error { _, err := LoadAttribution(path, NewPeople()); return err },
	"coverage":     func(path string) error { _, err := loadCoverage(path, NewPeople()); return err },
	"merges": func(path string) error {
		m := NewMerges(NewPeople())
		_, err := m.Load(path)
		return errors.Join(err, m.Settle(), m.Restore(m.Closing()))
	},
	"patients": func(path string) error {
		m := NewMerges(NewPeople())
		file, err := extract.FileAt(path, &extract.FileRule{Format: extract.FHIRNDJSON})
		if err == nil {
			_, err = m.LoadPatients(context.Background(), []extract.File{file})
		}
		return errors.Join(err, m.Settle())
	},
}

func TestBadRowsStop(t *testing.T) {
	const registry, restrictions = "patient,scope,decision,status,recipient,purpose,categories,from,to,signed_on,ended_on,ended_by\n", "subject,kind,ended_on,ended_by\n"
	const roster, programs = "subject,member_id,from,to\n", "kind,id,from,to\n"
	for _, c := range []struct {
		name, kind, text string
		line             int
	}{
		{"empty file", "registry", "", 0},
		{"column missing", "registry", "patient,scope\n", 1},
		{"cell missing", "registry", registry + "p1,general\n", 2},
		{"file cut short in quotes", "registry", registry + "p1,general,deny,active,\"acme", 2},
		{"no patient", "registry", registry + " ,general,deny,active,,,,,,,,\n", 2},
		{"a search for a patient", "registry", registry + "Patient?identifier=mrn|1,general,deny,active,,,,,,,,\n", 2},
		{"two patients", "registry", registry + "p1;p2,general,deny,active,,,,,,,,\n", 2},
		{"somebody who is no patient", "registry", registry + "p1,general,deny,active,,,,,,,,\nPractitioner/p1,general,deny,active,,,,,,,,\n", 3},
		{"a row too short", "registry", registry + "p1,general,deny,actve\n", 2},
		{"no subject", "restrictions", restrictions + ",self-pay,,\n", 2},
		{"no subject", "roster", roster + ",M1,2026-01-01,\n", 2},
		{"no member id", "roster", roster + "p1,,2026-01-01,\n", 2},
		{"no first day", "roster", roster + "p1,M1,,\n", 2},
		{"date", "roster", roster + "p1,M1,2026-13-01,\n", 2},
		{"kind", "programs", programs + "clinic,x,,\n", 2},
		{"no id", "programs", programs + "organization,,,\n", 2},
		{"to before from", "programs", programs + "organization,x,2026-02-01,2026-01-01\n", 2},
	} {
		t.Run(c.kind+" "+c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "in.csv")
			if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			err := loaders[c.kind](path)
			var defect *InputError
			if !errors.As(err, &defect) || c.line > 0 && defect.Line != c.line {
				t.Errorf("error %v, want one of line %d", err, c.line)
			}
		})
	}
	for kind, load := range loaders {
		if err := load(filepath.Join(t.TempDir(), "missing.csv")); err == nil {
			t.Errorf("%s: a missing file passes", kind)
		}
	}
}

// A row that tells its patient and cannot be understood otherwise leaves that
// patient in doubt and nobody else, whatever else is on file. It stays so when the row vanishes,
// and ends when a row that says the same in all other columns can be understood.
func TestRowsInDoubt(t *testing.T) {
	o, other := score("p1", "2026-03-02"), score("p2", "2026-03-02")
	const permit = "p1,general,permit,active"
	for name, c := range map[string]struct{ bad, mended, reasons string }{
		"scope":                            {"p1,all,deny,active", "p1,part2,deny,active", ""},
		"decision":                         {"p1,general,dney,active", "p1,general,deny,active", "consent-denied"},
		"decision that was a permit":       {"p1,general,pemit,active,acme", "p1,general,permit,active,acme", ""},
		"status":                           {"p1,general,deny,on", "p1,general,deny,active", "consent-denied"},
		"recipient kind":                   {"p1,general,deny,active,kind:friend", "p1,general,deny,active,kind:provider", ""},
		"purpose":                          {"p1,general,deny,active,,PROFIT", "p1,general,deny,active,,HOPERAT", "consent-denied"},
		"category":                         {"p1,general,deny,active,,,depression", "p1,general,deny,active,,,class:Observation", "consent-denied"},
		"class":                            {"p1,general,deny,active,,,class:Score", "p1,general,deny,active,,,class:Condition", ""},
		"categories mixed":                 {"p1,general,deny,active,,,PSY;code:1", "p1,general,deny,active,,,code:1", ""},
		"date":                             {"p1,general,deny,active,,,,01/02/2026", "p1,general,deny,active,,,,2026-01-02", "consent-denied"},
		"date without day":                 {"p1,general,deny,active,,,,2026-01", "p1,general,deny,active,,,,2026-01-01", "consent-denied"},
		"to before from":                   {"p1,general,deny,active,,,,2026-02-01,2026-01-01", "p1,general,deny,active,,,,2026-02-01,2027-01-01", "consent-denied"},
		"signing date":                     {"p1,general,permit,active,,,,,,yesterday", "p1,general,permit,active,,,,,,2026-01-01", ""},
		"end without author":               {"p1,general,deny,active,,,,,,,,2026-01-01,", "p1,general,deny,active,,,,,,,,2026-01-01,officer", ""},
		"author without end":               {"p1,general,deny,active,,,,,,,,,officer", "p1,general,deny,active,,,,,,,,2026-01-01,officer", ""},
		"denial over without an end":       {"p1,general,deny,revoked", "p1,general,deny,revoked,,,,,,,,2026-01-01,officer", ""},
		"denial in error, nobody found so": {"p1,general,deny,entered-in-error", "p1,general,deny,active", "consent-denied"},
		"opt-out that permits":             {"p1,registry-opt-out,permit,active", "p1,registry-opt-out,deny,active", ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).registry(permit, "p2,general,permit,active", c.bad)
			w.expect(o, "consent-indeterminate")
			w.expect(other, "")
			doubts := w.tables.Directives.Doubts()
			if len(doubts) != 1 || doubts[0].Line != 4 || doubts[0].Earlier || filepath.Base(doubts[0].File) != "registry.csv" {
				t.Errorf("doubts: %v", doubts)
			}
			w.must(w.tables.Directives.Restore(nil))
			rows := w.tables.Directives.Closing()
			if len(rows) != 1 {
				t.Fatalf("%d rows are kept, want 1", len(rows))
			}
			later := func(rowsNow ...string) *world {
				w.tables.Directives = NewDirectives(w.tables.People)
				w.registry(rowsNow...)
				w.must(w.tables.Directives.Restore(rows))
				return w
			}
			later(permit).expect(o, "consent-indeterminate")
			if doubts := w.tables.Directives.Doubts(); len(doubts) != 1 || !doubts[0].Earlier || doubts[0].Line != 4 {
				t.Errorf("doubts when it has vanished: %v", doubts)
			}
			later(permit, c.bad).expect(o, "consent-indeterminate")
			if n := w.tables.Directives.Len(); n != 2 {
				t.Errorf("%d directives: the kept row counts beside the one in the file", n)
			}
			later(permit, strings.Replace(c.mended, "p1", "p2", 1)).expect(o, "consent-indeterminate")
			later(permit, c.mended).expect(o, c.reasons)
			later(permit, c.bad, c.mended).expect(o, map[bool]string{true: "consent-indeterminate", false: c.reasons + ",consent-indeterminate"}[c.reasons == ""])
		})
	}
}

func TestRestrictionsInDoubt(t *testing.T) {
	o, other := score("p1", "2026-03-02"), score("p2", "2026-03-02")
	for name, c := range map[string]struct{ bad, mended, reasons string }{
		"kind":               {"p1,cash,,e9,,,,,,", "p1,self-pay,,e9,,,,,,", "restriction-indeterminate"}, // o names no encounter
		"end without author": {"p1,self-pay,,,,,,,2026-01-01,", "p1,self-pay,,,,,,,2026-01-01,officer", ""},
		"author without end": {"p1,self-pay,,,,,,,,officer", "p1,self-pay,,,,,,,,", "restriction-self-pay"},
		"first day":          {"p1,agreed,,,,March,,,,", "p1,agreed,,,,2026-03-01,,,,", "restriction-agreed"},
		"last day":           {"p1,agreed,,,,2026-02-01,tomorrow,,,", "p1,agreed,,,,2026-02-01,2026-02-02,,,", ""},
		"to before from":     {"p1,agreed,,,,2026-02-02,2026-02-01,,,", "p1,agreed,,,,2026-03-02,2026-03-02,,,", "restriction-agreed"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t).restrict("p2,self-pay,,e9,,2025-01-01,2025-01-01,,,", c.bad)
			w.expect(o, "restriction-indeterminate")
			w.expect(other, "")
			if doubts := w.tables.Restrictions.Doubts(); len(doubts) != 1 || doubts[0].Line != 3 || doubts[0].Earlier {
				t.Errorf("doubts: %v", doubts)
			}
			w.must(w.tables.Restrictions.Restore(nil))
			rows := w.tables.Restrictions.Closing()[1:]
			later := func(row string) *world {
				w.tables.Restrictions = NewRestrictions(w.tables.People)
				_, err := w.tables.Restrictions.Load(w.file("r.csv", "subject,kind,recipient,encounter,service,from,to,plan,ended_on,ended_by", []string{row}))
				w.must(err)
				w.must(w.tables.Restrictions.Restore(rows))
				return w
			}
			later("p2,self-pay,,,,,,,,").expect(o, "restriction-indeterminate")
			if doubts := w.tables.Restrictions.Doubts(); len(doubts) != 1 || !doubts[0].Earlier {
				t.Errorf("doubts when it has vanished: %v", doubts)
			}
			later(c.mended).expect(o, c.reasons)
		})
	}
	w := newWorld(t).restrict("p1,cash,other,,,,,,,") // a cell may have slipped: towards whom is not told
	w.expect(o, "restriction-indeterminate")
	w.treatment().restrict("p1,cash,,,,,,,,").expect(o, "restriction-indeterminate")
}

// Which row mends another is found by reading the lists again: they must be the
// same ones.
func TestListsThatChangeWhileTheyAreRead(t *testing.T) {
	w := newWorld(t).registry("p1,general,deny,on").restrict("p1,cash,,,,,,,,")
	for name, restore := range map[string]func([]ClosingRow) error{"registry.csv": w.tables.Directives.Restore, "restrictions.csv": w.tables.Restrictions.Restore} {
		w.must(restore(nil))
		path := filepath.Join(w.folder, name)
		text, err := os.ReadFile(path)
		w.must(err)
		w.must(os.WriteFile(path, append(text, '\n'), 0o600))
		var defect *InputError
		if err := restore(nil); !errors.As(err, &defect) || defect.File != path {
			t.Errorf("%s changed: %v", name, err)
		}
		w.must(os.Remove(path))
		if restore(nil) == nil {
			t.Errorf("%s is gone", name)
		}
	}
}

func FuzzInputs(f *testing.F) {
	f.Add("registry", []byte(registryHeader+"\np1,general,deny,active,acme,TPO,PSY,2026-01-01,,,,,\n"))
	f.Add("restrictions", []byte("subject,kind,encounter\np1,self-pay,e9\n"))
	f.Add("roster", []byte("subject,member_id,from,to,plan\np1,M1,2026-01-01,,gold\n"))
	f.Add("programs", []byte("kind,id,from,to\norganization,sud,,\n"))
	f.Add("registry", []byte(registryHeader+"\np1,general,dney,active,,,,,,,,,\n"))
	f.Add("restrictions", []byte("subject,kind,from\np1,cash,soon\n"))
	f.Add("attribution", []byte("patient,from,to,member_id\np1,2026-01-01,,M1\np1,2026-02-01,,M2\n"))
	f.Add("coverage", []byte(cover("c", "active", `,"dependent":"01","identifier":[{"type":{"coding":[{"code":"MB"}]},"value":"9"}]`)+"\n"+cover("c", "draft", "")))
	f.Add("merges", []byte("from,into,status,ended_on,ended_by\na,b,,,\nb,a,,,\nc,d,unresolved,,\ne,f,,2026-01-01,officer\n"))
	f.Add("patients", []byte(`{"resourceType":"Patient","id":"a","link":[{"type":"replaces","other":{"reference":"Patient/b"}},{"type":"refer","other":{"reference":"Patient/c"}}]}`))
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, kind string, text []byte) {
		load := loaders[kind]
		if load == nil {
			return
		}
		path := filepath.Join(dir, "in.csv")
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		var defect *InputError
		if err := load(path); err != nil && !errors.As(err, &defect) {
			t.Errorf("an error of another type: %v", err)
		}
	})
}

func FuzzConsent(f *testing.F) {
	f.Add([]byte(fhir("c", "active", "OPTIN", `"provision":{"period":{"start":"2026"},"provision":[{"type":"deny","securityLabel":[{"code":"PSY"}]}]}`)))
	f.Add([]byte(`{"resourceType":"Consent","id":"r5","decision":"permit","subject":{"reference":"urn:uuid:p1"}}`))
	f.Add([]byte(r5("active", "permit", `"grantee":[{"reference":"Organization/acme"}],"provision":[{"resourceType":[{"code":"Condition"}],"provision":[{"documentType":[{"code":"x"}]}]}]`)))
	f.Add([]byte(fhir("c", "inactive", "OPTOUT", `"verification":[{"verified":true}],"provision":{"data":[{"meaning":"dependents","reference":{"reference":"Encounter/e1"}}]}`)))
	scanner, w := extract.NewScanner(), newWorld(f)
	facts := score("p1", "2026-03-02")
	f.Fuzz(func(t *testing.T, raw []byte) {
		var rec extract.Record
		scanner.Resource(raw, &rec)
		w.tables.People = NewPeople()
		w.tables.Directives = NewDirectives(w.tables.People)
		if err := w.tables.Directives.AddConsent("fuzz", &rec); err != nil {
			var defect *InputError
			if !errors.As(err, &defect) {
				t.Errorf("an error of another type: %v", err)
			}
			return
		}
		d, err := NewDecider(w.req, w.tables)
		if err != nil {
			t.Fatal(err)
		}
		before := d.Decide(&facts)
		again := NewDirectives(w.tables.People)
		if err := again.Restore(w.tables.Directives.Closing()); err != nil {
			t.Fatalf("what was kept cannot be restored: %v", err)
		}
		w.tables.Directives = again
		if d, err = NewDecider(w.req, w.tables); err != nil {
			t.Fatal(err)
		}
		if before.Reasons != 0 && d.Decide(&facts).Reasons == 0 {
			t.Error("withheld, and released when its row vanished")
		}
	})
}

func TestClosing(t *testing.T) {
	o := score("p1", "2026-03-02")
	vanish := func(t *testing.T, w *world) {
		t.Helper()
		rows := w.tables.Directives.Closing()
		w.tables.Directives = NewDirectives(w.tables.People)
		w.must(w.tables.Directives.Restore(rows))
	}
	for name, c := range map[string]struct {
		set     func(*world)
		facts   extract.Facts
		reasons string
	}{
		"a denial stays": {func(w *world) { w.registry("p1,general,deny,active,acme,TPO,PSY,2026-01-01") }, labelled(o, "PSY"), "consent-denied"},
		"a nested denial stays": {func(w *world) {
			w.consents(fhir("c", "active", "OPTIN", `"provision":{"provision":[{"type":"deny"}]}`))
		}, o, "consent-denied"},
		"a revocation stays":                          {func(w *world) { w.registry("p1,general,permit,revoked") }, o, "consent-revoked"},
		"an unreadable one stays":                     {func(w *world) { w.consents(fhir("c", "on", "OPTIN", "")) }, o, "consent-indeterminate"},
		"a permit does not":                           {func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,active") }, o, "consent-missing"},
		"an end stays an end":                         {func(w *world) { w.registry("p1,general,deny,active,,,,,2026-07-04") }, o, ""},
		"a denial without an author of its end stays": {func(w *world) { w.consents(fhir("c", "inactive", "OPTOUT", "")) }, o, "consent-denied"},
		"an ended one is not kept":                    {func(w *world) { w.registry("p1,general,deny,entered-in-error,,,,,,,,2026-07-05,the patient") }, o, ""},
		"a permit entered in error is not":            {func(w *world) { w.general(policies.DenyWithout).registry("p1,general,permit,entered-in-error") }, o, "consent-missing"},
		"a rejected permit stays refused":             {func(w *world) { w.consents(fhir("c", "rejected", "OPTIN", "")) }, o, "consent-denied"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			c.set(w)
			before := w.decide(c.facts).Reasons
			vanish(t, w)
			w.expect(c.facts, c.reasons)
			if name != "a permit does not" && w.decide(c.facts).Reasons != before {
				t.Error("it changed on the way")
			}
			vanish(t, w)
			w.expect(c.facts, c.reasons)
		})
	}
	t.Run("a row of the same identity takes its place", func(t *testing.T) {
		w := newWorld(t).registry("p1,general,deny,active,acme")
		rows := w.tables.Directives.Closing()
		w.tables.Directives = NewDirectives(w.tables.People)
		w.registry("p1,general,deny,active,acme,,,,2026-07-01")
		w.must(w.tables.Directives.Restore(rows))
		w.expect(o, "")
	})
	t.Run("a row that restricts something else does not", func(t *testing.T) {
		w := newWorld(t).registry("p1,general,deny,active,acme")
		rows := w.tables.Directives.Closing()
		w.tables.Directives = NewDirectives(w.tables.People)
		w.registry("p1,general,deny,active,other,,,,2026-07-01")
		w.must(w.tables.Directives.Restore(rows))
		w.expect(o, "consent-denied")
	})
	t.Run("restrictions", func(t *testing.T) {
		w := newWorld(t).restrict("p1,self-pay,,,,2026-03-01,,,,", "p1,agreed,,,,bad,,,,", "p1,agreed,,e9,,,,,2026-01-01,officer")
		rows := w.tables.Restrictions.Closing()
		if len(rows) != 2 {
			t.Errorf("%d rows are kept, want 2", len(rows))
		}
		w.restrict()
		w.must(w.tables.Restrictions.Restore(rows))
		w.expect(o, "restriction-self-pay,restriction-indeterminate")
		w.restrict("p1,self-pay,,,,2026-03-01,,,2026-07-01,officer")
		w.must(w.tables.Restrictions.Restore(rows))
		w.expect(o, "restriction-indeterminate")
	})
	t.Run("programs", func(t *testing.T) {
		w := newWorld(t).programs("organization,sud,,", "location,ward,2026-01-01,")
		rows := w.tables.Programs.Closing()
		w.programs()
		w.must(w.tables.Programs.Restore(rows))
		f := o
		f.Providers = list([]string{"Location/ward"})
		w.expect(f, "part2-no-consent")
		ended, err := loadPrograms(w.file("p.csv", "kind,id,from,to,ended_on,ended_by", []string{"organization,sud,,,2026-07-01,officer", "location,ward,2026-01-01,,2026-07-01,officer"}))
		w.must(err)
		w.must(ended.Restore(rows))
		if w.tables.Programs = ended; len(ended.Closing()) != 0 {
			t.Error("an ended program is kept")
		}
		w.expect(f, "")
	})
	t.Run("altered state", func(t *testing.T) {
		w := newWorld(t).registry("p1,general,deny,active,acme").restrict("p1,self-pay,,,,,,,,").programs("organization,sud,,")
		for i := range w.tables.Directives.Closing()[0].Data {
			row := w.tables.Directives.Closing()[0]
			row.Data = row.Data[:i]
			if NewDirectives(w.tables.People).Restore([]ClosingRow{row}) == nil {
				t.Errorf("directive cut at %d passes", i)
			}
		}
		row := w.tables.Restrictions.Closing()[0]
		row.Data = row.Data[:len(row.Data)-1]
		if w.tables.Restrictions.Restore([]ClosingRow{row}) == nil {
			t.Error("a cut restriction passes")
		}
		row = w.tables.Programs.Closing()[0]
		row.Data = append(row.Data[:len(row.Data):len(row.Data)], 0)
		if w.tables.Programs.Restore([]ClosingRow{row}) == nil {
			t.Error("a lengthened program passes")
		}
	})
}

func TestRosterLookups(t *testing.T) {
	w := newWorld(t)
	path := w.file("r.csv", "subject,member_id,from,to,plan", []string{"p1,M1,2025-01-01,2025-12-31,gold", "p1,M2,2026-01-01,,silver"})
	r, err := LoadRoster(path, w.tables.People)
	w.must(err)
	p1, _ := w.tables.People.Find([]byte("p1"))
	p2, _ := w.tables.People.Find([]byte("p2"))
	on := func(s string) extract.Span { span, _ := extract.ParseSpan([]byte(s)); return span }
	for _, c := range []struct {
		s      Subject
		column string
		on     extract.Span
		want   string
	}{
		{p1, "member_id", on("2025-06"), "M1"}, {p1, "plan", on("2025-06-01"), "gold"}, {p1, "member_id", on("2026-06"), "M2"},
		{p1, "plan", extract.NoSpan, "silver"}, {p1, "plan", on("2020"), "silver"}, {p2, "plan", on("2026"), ""}, {p1, "none", on("2026"), ""},
	} {
		if got := string(r.Value(c.s, c.column, c.on)); got != c.want {
			t.Errorf("%s on %v is %q, want %q", c.column, c.on, got, c.want)
		}
	}
	var members []string
	w.must(r.Members(func(_ Subject, m []byte) error { members = append(members, string(m)); return nil }))
	if strings.Join(members, ",") != "M1,M2" || r.Rows != 2 || len(r.SHA256) != 64 {
		t.Errorf("members %v, %d rows", members, r.Rows)
	}
	stop := errors.New("stop")
	if r.Members(func(Subject, []byte) error { return stop }) != stop {
		t.Error("an error is passed over")
	}
}

func TestFactsRoundTrip(t *testing.T) {
	word := rapid.SliceOfN(rapid.Byte(), 0, 40)
	words := rapid.SliceOfN(word, 0, 4)
	rapid.Check(t, func(t *rapid.T) {
		from := extract.Day(rapid.Int32().Draw(t, "from"))
		f := extract.Facts{Dataset: string(word.Draw(t, "dataset")), ID: word.Draw(t, "id"), Date: extract.Span{From: from, To: extract.Day(rapid.Int32().Draw(t, "to"))},
			Encounter: word.Draw(t, "encounter"), Status: word.Draw(t, "status")}
		for _, to := range []*[]phi.Bytes{&f.Subjects, &f.Providers, &f.Codes, &f.Labels, &f.Wholes} {
			for _, v := range words.Draw(t, "list") {
				*to = append(*to, v)
			}
		}
		people, later := NewPeople(), NewPeople()
		for _, id := range f.Subjects {
			if s := people.Intern(id); rapid.Bool().Draw(t, "born") {
				people.NoteBirth(s, extract.Span{From: extract.Day(len(id)), To: extract.Day(40)})
			}
		}
		b := AppendFacts([]byte("before"), &f, people, nil)[6:]
		back := extract.Facts{Subjects: list([]string{"stale"})}
		rest, err := ReadFacts(append(b, "after"...), &back, later)
		if err != nil || string(rest) != "after" || !bytes.Equal(AppendFacts(nil, &back, later, nil), b) || back.Date != f.Date || back.Dataset != f.Dataset || len(back.Subjects) != len(f.Subjects) {
			t.Fatalf("facts changed on the way: %v", err)
		}
		var alone extract.Facts // of whom it is about, nobody is asked
		if _, err := ReadFacts(b, &alone, nil); err != nil || !bytes.Equal(AppendFacts(nil, &alone, later, nil), b) {
			t.Fatalf("facts read without people are others: %v", err)
		}
		for n := range b {
			if _, err := ReadFacts(b[:n], &back, later); err == nil {
				t.Fatalf("facts cut at %d of %d pass", n, len(b))
			}
		}
	})
}
