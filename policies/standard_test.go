package policies

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

var transforms = []Transform{Keep, CodePerson, Year, AgeBand, ZIP3, RelativeTime}

// What Safe Harbor lets out of each class, said a second time: (A) to (R) of
// 45 CFR 164.514(b)(2)(i), the links and the text never leave as they are.
func TestSafeHarborByClass(t *testing.T) {
	never := []extract.Class{
		extract.Unclassed, extract.Name, extract.Geography, extract.Town, extract.Phone, extract.Fax, extract.Email, extract.SSN,
		extract.RecordNumber, extract.MemberNumber, extract.Account, extract.Licence, extract.Vehicle, extract.DeviceSerial,
		extract.WebAddress, extract.NetworkAddress, extract.Biometric, extract.Photograph, extract.OtherUnique,
		extract.RecordKey, extract.ProviderKey, extract.FreeText,
	}
	asItIs := []extract.Class{
		extract.State, extract.Code, extract.CodeSystem, extract.Number, extract.Boolean, extract.Sex, extract.Race,
		extract.Ethnicity, extract.Language, extract.Unit,
	}
	transformed := map[extract.Class][]Transform{
		extract.Postcode: {ZIP3}, extract.Date: {Year, RelativeTime}, extract.BirthDate: {Year, AgeBand},
		extract.DeathDate: {Year}, extract.AgeYears: {AgeBand}, extract.SubjectKey: {CodePerson}, extract.Link: {CodePerson},
	}
	for class := range extract.Class(extract.Classes) {
		for _, do := range transforms {
			want := slices.Contains(transformed[class], do) || do == Keep && slices.Contains(asItIs, class)
			if got := Permits(SafeHarbor, class, do); got != want {
				t.Errorf("Safe Harbor, %s, do: %s: permitted %v", class, do, got)
			}
			if Permits(Aggregate, class, do) {
				t.Errorf("a standard of a later version permits %s", class)
			}
		}
		if slices.Contains(never, class) == (slices.Contains(asItIs, class) || transformed[class] != nil) {
			t.Errorf("the test does not say what holds for %s", class)
		}
		if Permits(Identified, class, Keep) == (class == extract.Unclassed) {
			t.Errorf("identified, %s, do: keep", class)
		}
	}
}

// Over every element of every resource type and every transform: what a Safe
// Harbor field lets out is permitted leaf by leaf, and a whole element never
// lets out text, web addresses or what has no class under any standard.
func TestEveryElement(t *testing.T) {
	for _, std := range []Standard{Identified, SafeHarbor} {
		for _, resource := range extract.ResourceTypes() {
			typ := extract.TypeOf(resource)
			for i := range typ.Elements {
				for _, do := range transforms {
					checkElement(t, std, resource, &typ.Elements[i], do)
				}
			}
		}
	}
}

func checkElement(t *testing.T, std Standard, resource string, e *extract.Element, do Transform) {
	r := &reading{policy: &Policy{Standard: std}}
	r.source, _ = strictyaml.Decode("p.yaml", []byte("a: b"), &map[string]string{})
	r.errs = r.source.Errors()
	f := Field{Name: e.Name, From: e.Name, Do: do}
	r.fhirField("release", resource, &f)
	whole := extract.TypeOf(e.Type) != nil
	if len(f.Leaves) == 0 && r.errs.Err() == nil {
		t.Errorf("%s.%s, do: %s: nothing leaves and nothing is said", resource, e.Name, do)
	}
	for _, l := range f.Leaves {
		path := resource + "." + strings.Join(l.Path, ".")
		if !Permits(std, l.Class, do) {
			t.Errorf("%s lets out %s (%s) with do: %s", std, path, l.Class, do)
		}
		if whole && (l.Class == extract.FreeText || l.Class == extract.WebAddress || l.Class == extract.Unclassed) {
			t.Errorf("%s leaves as a part of a whole (%s)", path, l.Class)
		}
		for _, step := range l.Path {
			if slices.Contains([]string{"display", "div", "contained", "extension", "modifierExtension"}, step) && whole {
				t.Errorf("%s leaves as a part of a whole", path)
			}
		}
		if do == CodePerson && l.Class == extract.Link && !slices.Contains(extract.Compartment(resource), strings.Join(l.Path[:len(l.Path)-1], ".")) {
			t.Errorf("%s becomes a code of the person", path)
		}
	}
}

func TestPurposeWithin(t *testing.T) {
	for _, c := range []struct {
		code, wider string
		want        bool
	}{
		{"HQUALIMP", "HOPERAT", true}, {"HOPERAT", "HOPERAT", true}, {"LABELING", "HOPERAT", true},
		{"HOPERAT", "HQUALIMP", false}, {"TREAT", "HOPERAT", false}, {"", "", false}, {"X", "X", false},
	} {
		if got := PurposeWithin(c.code, c.wider); got != c.want {
			t.Errorf("PurposeWithin(%q, %q) = %v", c.code, c.wider, got)
		}
	}
	for code, above := range purposes {
		if above != "" && !KnownPurpose(above) {
			t.Errorf("%s lies under %s, which is none", code, above)
		}
	}
}
