package explain

import (
	"github.com/posternhealth/postern/policies"
)

// patient says what a patient can do, and what then happens.
func (e *explaining) patient() {
	e.section("What a patient can do")
	s, law := e.steps, []string{"basis", "standard"}
	if !s.Known() {
		e.say("The table of steps knows no disclosure of this kind, so nothing leaves at all; `postern policy explain --applies` shows the table.", append(law, "recipient")...)
		return
	}
	if s.Consent {
		e.item("Say no. A denial on file keeps here every record that it covers, whatever else is on file.", law...)
		e.item("Take a consent back. From then on nothing that rests on it is sent, not even a delivery that already waits. What was sent before stays sent, and the recipient is not told.", law...)
	}
	if s.Agreed {
		e.item("Ask us for a restriction. One that we have agreed to keeps here the records that it covers (45 CFR 164.522(a)(1)).", law...)
		if !e.reads("restrictions") {
			e.item("But we keep no list of restrictions, so none would be noticed.", law...)
		}
	}
	if s.SelfPay {
		e.item("Pay for a service in full, and forbid us to tell a health plan of it. Its records then stay here (45 CFR 164.522(a)(1)(vi)).", append(law, "recipient")...)
	}
	if e.ReleasesPart2() && !s.Consent {
		e.item("Give, refuse or take back consent to records of a substance use program. Without it they stay here, whatever the ground of the disclosure.", law...)
	}
	if e.People.RegistryOptOut {
		e.item("Opt out of registries. Nothing about the person is then included.", "people.clinic_choice.registry_opt_out")
	}
	if unclear := "What we cannot read or understand of a patient's decision keeps the records here."; s.Consent || s.Part2 {
		e.item(unclear, "standard")
	} else if e.People.RegistryOptOut {
		e.item(unclear, "people.clinic_choice.registry_opt_out")
	}
	if !s.Consent {
		more := "Nothing"
		if len(e.page.Sections[len(e.page.Sections)-1].Sentences) > 0 {
			more = "Nothing more"
		}
		e.item(more+noSay[policies.Section(e.Basis)], "basis")
	}
}

// reads tells whether the clinic has an input of a kind. Every run reads all.
func (e *explaining) reads(kind string) bool {
	for _, in := range e.env.Inputs {
		if in.Kind == kind {
			return true
		}
	}
	return false
}

// noSay says why consents and restrictions do not bind.
var noSay = map[string]string{
	"164.502(d)": ": consent and restriction do not bind what is de-identified, since nobody can be recognized in it (45 CFR 164.502(d)).",
	"164.512(a)": ": another law requires this disclosure (45 CFR 164.512(a)).",
	"164.512(b)": ": a patient cannot forbid disclosures to a public health authority (45 CFR 164.512(b)).",
	"164.512(d)": ": a patient cannot forbid disclosures for health oversight (45 CFR 164.512(d)).",
}
