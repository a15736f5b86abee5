package policies

import (
	"slices"

	"github.com/posternhealth/postern/extract"
)

// paragraph is one identifier that a standard names, with the classes that hold
// it. The letter is the law's own; where a class may hold several identifiers it
// is a range of them.
type paragraph struct {
	letter, title string
	classes       []extract.Class
}

// harborIdentifiers are those of 45 CFR 164.514(b)(2)(i) in the order of the
// law, and last the fields that may hold any of them.
var harborIdentifiers = []paragraph{
	{"(A)", "names", []extract.Class{extract.Name}},
	{"(B)", "places below a state", []extract.Class{extract.Geography, extract.Town, extract.Postcode}},
	{"(C)", "dates and ages", []extract.Class{extract.Date, extract.BirthDate, extract.DeathDate, extract.AgeYears}},
	{"(D)", "telephone numbers", []extract.Class{extract.Phone}},
	{"(E)", "fax numbers", []extract.Class{extract.Fax}},
	{"(F)", "e-mail addresses", []extract.Class{extract.Email}},
	{"(G)", "social security numbers", []extract.Class{extract.SSN}},
	{"(H)", "medical record numbers", []extract.Class{extract.RecordNumber}},
	{"(I)", "health plan numbers", []extract.Class{extract.MemberNumber}},
	{"(J)", "account numbers", []extract.Class{extract.Account}},
	{"(K)", "certificates and licences", []extract.Class{extract.Licence}},
	{"(L)", "vehicles", []extract.Class{extract.Vehicle}},
	{"(M)", "devices", []extract.Class{extract.DeviceSerial}},
	{"(N)", "web addresses", []extract.Class{extract.WebAddress}},
	{"(O)", "network addresses", []extract.Class{extract.NetworkAddress}},
	{"(P)", "biometric identifiers", []extract.Class{extract.Biometric}},
	{"(Q)", "photographs", []extract.Class{extract.Photograph}},
	{"(R)", "other unique numbers and codes", []extract.Class{extract.OtherUnique, extract.SubjectKey, extract.RecordKey, extract.Link, extract.ProviderKey}},
	{"(A)-(R)", "text and what has no class", []extract.Class{extract.FreeText, extract.Unclassed}},
}

// limitedIdentifiers are those of 45 CFR 164.514(e)(2). It has no catch-all such
// as (R); but a number of unknown kind may be any that it names, and the clinic's
// own numbers of people and records are or lead to record and account numbers.
var limitedIdentifiers = []paragraph{
	{"(i)", "names", []extract.Class{extract.Name}},
	{"(ii)", "postal address but town, state and ZIP code", []extract.Class{extract.Geography}},
	{"(iii)", "telephone numbers", []extract.Class{extract.Phone}},
	{"(iv)", "fax numbers", []extract.Class{extract.Fax}},
	{"(v)", "e-mail addresses", []extract.Class{extract.Email}},
	{"(vi)", "social security numbers", []extract.Class{extract.SSN}},
	{"(vii)", "medical record numbers", []extract.Class{extract.RecordNumber, extract.SubjectKey}},
	{"(viii)", "health plan numbers", []extract.Class{extract.MemberNumber}},
	{"(ix)", "account numbers", []extract.Class{extract.Account}},
	{"(x)", "certificates and licences", []extract.Class{extract.Licence}},
	{"(xi)", "vehicles", []extract.Class{extract.Vehicle}},
	{"(xii)", "devices", []extract.Class{extract.DeviceSerial}},
	{"(xiii)", "web addresses", []extract.Class{extract.WebAddress}},
	{"(xiv)", "network addresses", []extract.Class{extract.NetworkAddress}},
	{"(xv)", "biometric identifiers", []extract.Class{extract.Biometric}},
	{"(xvi)", "photographs", []extract.Class{extract.Photograph}},
	{"(vii)-(ix)", "the clinic's own numbers of records", []extract.Class{extract.RecordKey, extract.Link}},
	{"(vi)-(xii)", "unique numbers of unknown kind", []extract.Class{extract.OtherUnique}},
	{"(i)-(xvi)", "text and what has no class", []extract.Class{extract.FreeText, extract.Unclassed}},
}

// limitedStays is what else could identify, and a limited data set may hold.
var limitedStays = []paragraph{
	{"", "dates and ages, which (e)(2) does not name", []extract.Class{extract.Date, extract.BirthDate, extract.DeathDate, extract.AgeYears}},
	{"", "town and ZIP code, which (e)(2)(ii) leaves in", []extract.Class{extract.Town, extract.Postcode}},
	{"", "providers' numbers, which (e)(2) does not name", []extract.Class{extract.ProviderKey}},
}

// identifies tells whether a class is one of the eighteen of Safe Harbor, or may
// hold one.
func identifies(class extract.Class) bool { return letterOf(harborIdentifiers, class) != "" }

// letterOf is the paragraph of a list that a class falls under; "" when none.
func letterOf(list []paragraph, class extract.Class) string {
	for _, p := range list {
		if slices.Contains(p.classes, class) {
			return p.letter
		}
	}
	return ""
}

// AbsentIdentifiers are the identifiers of which nothing leaves, in any form. Of
// what may hold several kinds of number nothing can be said, and of text that
// may hold anything nothing at all. They are named in plain words, in the order of 45 CFR
// 164.514(b)(2)(i).
func (p *Policy) AbsentIdentifiers() (titles []string) {
	released := map[extract.Class]bool{}
	for _, rel := range p.Release {
		for _, f := range rel.Fields {
			if f.Do == CodeDisplay || f.Do == KeepIn { // the policy's own words
				continue
			}
			released[f.Class] = released[f.Class] || f.Leaves == nil && f.Do != Constant
			for _, l := range f.Leaves {
				released[l.Class] = true
			}
		}
	}
	for _, t := range p.Tables {
		released[extract.Date] = released[extract.Date] || t.Period != ""
		for _, d := range t.By {
			released[d.Class] = true
		}
	}
	if released[extract.FreeText] {
		return nil
	}
	numbers := []extract.Class{extract.SSN, extract.RecordNumber, extract.MemberNumber, extract.Account, extract.Licence, extract.Vehicle, extract.DeviceSerial}
	for _, par := range harborIdentifiers {
		if par.letter == "(R)" { // which, like the text after it, may be of any kind
			break
		}
		out := slices.ContainsFunc(par.classes, func(c extract.Class) bool {
			return released[c] || released[extract.OtherUnique] && slices.Contains(numbers, c)
		})
		if !out {
			titles = append(titles, par.title)
		}
	}
	return titles
}
