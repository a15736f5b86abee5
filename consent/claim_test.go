package consent

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

func TestEveryReasonHasAClaim(t *testing.T) {
	for r := extract.Reason(1); int(r) < extract.Reasons; r++ {
		c := claims[r]
		if !strings.HasSuffix(c.Says, ".") || c.Mend != "" && !strings.HasSuffix(c.Mend, ".") {
			t.Errorf("%s is told in no whole sentences", r)
		}
		withheld := r.Disposition() == extract.Withheld
		if withheld && (c.Law == "" || c.Exception == "" || c.Mend == "") {
			t.Errorf("%s lacks its law, its exception or what would change it", r)
		}
		if (withheld || r.Disposition() == extract.Suppressed) != (c.By != ByNobody) {
			t.Errorf("%s is kept back by %s", r, c.By)
		}
		if doubt := doubts&(1<<r) != 0; doubt != (c.By == ByDoubt) {
			t.Errorf("%s is a doubt to the decision: %v; to its claim it is by %s", r, doubt, c.By)
		}
	}
	if text, err := json.Marshal(ByClinic); err != nil || string(text) != `"clinic"` {
		t.Errorf("%s, %v", text, err)
	}
}

// Where the law does not ask for it, the clinic cannot claim the law.
func TestClaimInItsDisclosure(t *testing.T) {
	plan := func(w *world) {}
	for name, c := range map[string]struct {
		make   func(*world)
		reason extract.Reason
		want   By
	}{
		"a plan's operations need the relationship":       {plan, extract.NotAMember, ByLaw},
		"and its ambiguity is a doubt":                    {plan, extract.MemberAmbiguous, ByDoubt},
		"treatment needs none":                            {func(w *world) { w.treatment() }, extract.NotAMember, ByClinic},
		"nor is its ambiguity more than a choice":         {func(w *world) { w.treatment() }, extract.MemberAmbiguous, ByClinic},
		"HIPAA asks for no consent to treatment":          {func(w *world) { w.treatment() }, extract.ConsentMissing, ByClinic},
		"nor for one that has not run out":                {plan, extract.ConsentExpired, ByClinic},
		"what needs an authorization needs it":            {func(w *world) { w.treatment().req.Policy.Basis = "45 CFR 164.508" }, extract.ConsentMissing, ByLaw},
		"no law asks for a contract with a plan":          {plan, extract.AgreementLapsed, ByClinic},
		"a limited data set needs its agreement":          {func(w *world) { w.req.Policy.Standard = policies.LimitedDataSet }, extract.AgreementMissing, ByLaw},
		"so does a business associate":                    {func(w *world) { w.req.Policy.Agreement.Kind = "baa" }, extract.AgreementLapsed, ByLaw},
		"and a vendor, which is one":                      {func(w *world) { w.req.RecipientKind, w.req.Policy.Basis = "vendor", "45 CFR 164.506(c)(1)" }, extract.AgreementLapsed, ByLaw},
		"de-identified data are no one's health record":   {func(w *world) { w.safeHarbor() }, extract.ClinicChoice, ByClinic},
		"self-pay is the patient's":                       {plan, extract.RestrictionSelfPay, ByPatient},
		"what is derived follows what it is derived from": {plan, extract.DerivedFromWithheld, ByEvidence},
	} {
		w := newWorld(t)
		c.make(w)
		d, err := NewDecider(w.req, w.tables)
		w.must(err)
		claim := d.Claim(c.reason)
		if claim.By != c.want {
			t.Errorf("%s: by %s", name, claim.By)
		}
		if claim.By == ByClinic && !strings.HasPrefix(claim.Exception, "none") {
			t.Errorf("%s: a choice claims %s", name, claim.Exception)
		}
		if strings.Contains(claim.Exception, "de-identified") != (w.req.Policy.Basis == "45 CFR 164.502(d)") {
			t.Errorf("%s: %s", name, claim.Exception)
		}
	}
}

// A record that several things keep back is counted once: under what weighs most.
func TestCounted(t *testing.T) {
	f := score("p1", "2026-03-02")
	unlabelled := "p1,general,deny,active,acme,,PSY" // nobody can tell whether the record is about that
	for name, c := range map[string]struct {
		rows   []string
		more   []extract.Reason
		reason extract.Reason
		by     By
	}{
		"the law before the patient":              {[]string{"p1,general,deny,active"}, []extract.Reason{extract.NotAMember}, extract.NotAMember, ByLaw},
		"the patient before doubt and choice":     {[]string{"p1,general,deny,active"}, []extract.Reason{extract.ClinicChoice, extract.MergeUnresolved}, extract.ConsentDenied, ByPatient},
		"doubt before choice":                     {nil, []extract.Reason{extract.ClinicChoice, extract.MergeUnresolved}, extract.MergeUnresolved, ByDoubt},
		"choice alone":                            {nil, []extract.Reason{extract.ClinicChoice}, extract.ClinicChoice, ByClinic},
		"of two laws the first in decision order": {nil, []extract.Reason{extract.StateLawConsent, extract.Part2NoConsent}, extract.Part2NoConsent, ByLaw},
		"a denial that may match is a doubt":      {[]string{unlabelled}, nil, extract.ConsentIndeterminate, ByDoubt},
		"beside a certain one it is none":         {[]string{unlabelled, "p1,general,deny,active"}, nil, extract.ConsentDenied, ByPatient},
	} {
		w := newWorld(t).registry(c.rows...)
		d, err := NewDecider(w.req, w.tables)
		w.must(err)
		reasons := d.Decide(&f).Reasons
		for _, r := range c.more {
			reasons = reasons.With(r)
		}
		if reason, claim := d.Counted(&f, false, reasons); reason != c.reason || claim.By != c.by {
			t.Errorf("%s: of %s it is %s, by %s", name, reasons.Names(), reason, claim.By)
		}
	}
}

// The table of the guide is the one that the report goes by.
func TestClaimsInTheGuide(t *testing.T) {
	path := filepath.Join("..", "docs", "consent.md")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "-run TestClaimsInTheGuide -->\n", "<!-- end of reasons -->\n"
	before, rest, found := strings.Cut(string(text), begin)
	table, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatal("the guide has no place for the table")
	}
	want := "\n| reason | by | law | exception |\n| --- | --- | --- | --- |\n"
	for r := extract.AgreementMissing; r <= extract.ClinicChoice; r++ {
		c := claims[r]
		want += fmt.Sprintf("| `%s` | %s | %s | %s |\n", r, c.By, c.Law, c.Exception)
	}
	want += "\n"
	if table == want {
		return
	}
	if os.Getenv("UPDATE_GOLDEN") == "" {
		t.Fatal("the table of docs/consent.md is another one; run with UPDATE_GOLDEN=1")
	}
	if err := os.WriteFile(path, []byte(before+begin+want+end+after), 0o644); err != nil {
		t.Fatal(err)
	}
}
