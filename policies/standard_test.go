package policies

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Over every element of every resource type, with the transforms that a FHIR
// element can have: what a field lets out is permitted leaf by leaf, and a whole
// element never lets out text, web addresses or what has no class.
func TestEveryElement(t *testing.T) {
	for _, std := range []Standard{Identified, LimitedDataSet, SafeHarbor} {
		for _, resource := range extract.ResourceTypes() {
			typ := extract.TypeOf(resource)
			for i := range typ.Elements {
				for _, do := range []Transform{Keep, CodePerson, Year, ZIP3, Token} {
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
