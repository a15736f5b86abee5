package consent

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

func TestLimits(t *testing.T) {
	var defect *InputError
	rows := make([]string, maxDirectives+2)
	for i := range rows {
		rows[i] = "p1,general,deny,active,,,,,,,,,"
	}
	w := newWorld(t)
	w.registry(rows[:maxDirectives]...)
	kept := w.tables.Directives.Closing()
	if _, err := w.tables.Directives.LoadRegistry(w.file("more.csv", registryHeader, rows[:1])); !errors.As(err, &defect) {
		t.Errorf("more than %d directives of one patient: %v", maxDirectives, err)
	}
	if _, err := w.loadConsents(fhir("c", "active", "OPTIN", "")); !errors.As(err, &defect) {
		t.Errorf("a Consent more than %d: %v", maxDirectives, err)
	}
	other := newWorld(t).registry(strings.Replace(rows[0], "active,", "active,other", 1))
	for i := range kept {
		kept[i].Key[0], kept[i].Key[1] = byte(i), byte(i>>8)
	}
	if err := other.tables.Directives.Restore(kept); !errors.As(err, &defect) {
		t.Errorf("restoring more than %d directives of one patient: %v", maxDirectives, err)
	}

	many := `"provision":{"provision":[` + strings.Repeat(`{"type":"deny"},`, 1<<16) + `{"type":"deny"}]}`
	newWorld(t).consents(fhir("c", "active", "OPTIN", many)).expect(score("p1", "2026-03-02"), "consent-indeterminate")
}

func TestUnreadableSources(t *testing.T) {
	var defect *InputError
	d := NewDirectives(NewPeople())
	rule := &extract.FileRule{Format: extract.FHIRNDJSON}
	if _, err := d.LoadFHIRConsents(context.Background(), []extract.File{{Name: "gone.ndjson", Path: filepath.Join(t.TempDir(), "gone"), Rule: rule}}); !errors.As(err, &defect) || defect.Error() == "" {
		t.Errorf("a file that is not there: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := d.LoadFHIRConsents(ctx, nil); !errors.Is(err, context.Canceled) || errors.As(err, &defect) {
		t.Errorf("a reading that was interrupted: %v", err)
	}
}

func TestEdgesOfTheDecision(t *testing.T) {
	o := score("p1", "2026-03-02")
	t.Run("no directives at all", func(t *testing.T) {
		w := newWorld(t)
		w.tables.Directives = NewDirectives(w.tables.People)
		w.expect(o, "")
	})
	t.Run("a blank name means nobody", func(t *testing.T) {
		w := newWorld(t)
		w.req.Organizations, w.req.Policy.Recipient, w.req.Others = []string{"", " "}, "", []string{"acme"}
		w.registry("p1,general,deny,active,acme").restrict("p1,agreed,acme,,,,,,,").expect(o, "")
		w.consents(fhir("c", "active", "OPTOUT", `"provision":{"actor":[{"role":{"coding":[{"code":"IRCP"}]},"reference":{"reference":"Organization/404"}}]}`)).
			expect(o, "consent-denied,consent-indeterminate")
	})
	t.Run("restricted service, record without a code", func(t *testing.T) {
		f := o
		f.Codes = nil
		newWorld(t).restrict("p1,self-pay,,,90834,,,,,").expect(f, "restriction-indeterminate")
	})
	t.Run("restricted encounter, and that very encounter", func(t *testing.T) {
		f := o
		f.Dataset, f.ID = "Encounter", phi.Bytes("e9")
		w := newWorld(t).restrict("p1,self-pay,,e9,,,,,,")
		w.expect(f, "restriction-self-pay")
		f.ID = phi.Bytes("e1")
		w.expect(f, "")
	})
	t.Run("unrestricted record", func(t *testing.T) {
		newWorld(t).registry("p1,general,deny,active,,,R").expect(labelled(o, "U"), "")
	})
	t.Run("an encounter that needs no weighing", func(t *testing.T) {
		w := newWorld(t).programs()
		if _, ok := w.tables.Encounters.Weigh(&o); ok {
			t.Error("it is weighed without programs")
		}
		w.programs("organization,sud,,")
		f := o
		f.ID = nil
		if _, ok := w.tables.Encounters.Weigh(&f); ok {
			t.Error("it is weighed without an id")
		}
	})
	t.Run("an actor that is conditional or contained", func(t *testing.T) {
		for _, ref := range []string{"Organization?identifier=a|1", "#org", "urn:uuid:acme"} {
			newWorld(t).consents(fhir("c", "active", "OPTOUT", `"provision":{"actor":[{"role":{"coding":[{"code":"IRCP"}]},"reference":{"reference":"`+ref+`"}}]}`)).
				expect(o, "consent-denied,consent-indeterminate")
		}
	})
	t.Run("a number where text belongs", func(t *testing.T) {
		newWorld(t).consents(strings.Replace(fhir("c", "active", "OPTIN", ""), `"status":"active"`, `"status":5`, 1)).expect(o, "consent-indeterminate")
	})
	t.Run("two lists of restrictions", func(t *testing.T) {
		w := newWorld(t).restrict("p1,self-pay,,,,,,,,")
		_, err := w.tables.Restrictions.Load(w.file("more.csv", "subject,kind", []string{"p1,agreed"}))
		w.must(err)
		w.expect(o, "restriction-self-pay,restriction-agreed")
	})
	t.Run("absent nodes", func(t *testing.T) {
		var n node
		if n.kind() != extract.Null || n.text() != "" || !n.member("x").absent() {
			t.Error("an absent node holds something")
		}
		broken := node{raw: []byte(`"\x"`), doc: extract.Doc{{Kind: extract.String, Escaped: true, Start: 1, End: 3, Next: 1}}}
		if broken.text() != "" {
			t.Error("a broken escape is read")
		}
	})
}

// No diagnostic may hold a value of an input.
func TestErrorsHoldNoValues(t *testing.T) {
	const planted = "PLANTED-VALUE"
	for _, text := range []string{
		"patient,scope,decision,status\n" + planted + "," + planted + "," + planted + "," + planted + "\n",
		"patient,scope,decision,status,from\np1,general,deny,active," + planted + "\n",
		"patient,scope,decision,status,recipient,purpose,categories\np1,general,deny,active,kind:" + planted + "," + planted + "," + planted + "\n",
		"patient,scope,decision,status\np1,general,deny\"" + planted + "\"\n",
	} {
		w := newWorld(t)
		header, rest, _ := strings.Cut(text, "\n")
		_, err := w.tables.Directives.LoadRegistry(w.file("r.csv", header, []string{strings.TrimSpace(rest)}))
		said := fmt.Sprint(err, w.tables.Directives.Doubts())
		if said == "<nil> []" || strings.Contains(said, planted) {
			t.Errorf("error and doubts: %s", said)
		}
	}
}
