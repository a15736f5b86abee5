package policies

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// lawful is what may leave of each class, said a second time from the law: a
// column for each standard, a letter for each transform. Names, numbers of
// telephones to photographs, and text leave only as they are and identified; a
// limited data set keeps dates, ages, town, ZIP code and providers' numbers;
// Safe Harbor keeps the year, intervals, age groups, three digits and random or
// drop-local codes; an expert's determination has tokens and shifted dates beside.
const lawful = `
class            identified  limited  harbor  expert
unclassed        -           -        -       -
name             k           -        -       -
geography        k           -        -       -
town             k           k        -       -
postcode         kz          kz       z       z
date             kyr         kyr      yr      yrs
birth-date       kyba        kyba     yba     yba
death-date       ky          ky       y       ys
age              kba         kba      ba      ba
phone            k           -        -       -
fax              k           -        -       -
email            k           -        -       -
ssn              k           -        -       -
record-number    k           -        -       -
member-number    k           -        -       -
account          k           -        -       -
licence          k           -        -       -
vehicle          k           -        -       -
device-serial    k           -        -       -
web-address      k           -        -       -
network-address  k           -        -       -
biometric        k           -        -       -
photograph       k           -        -       -
other-unique     k           -        -       -
subject-key      kc          ct       c       ct
record-key       ko          ot       o       ot
link             kco         cot      co      cot
provider-key     k           kt       -       t
free-text        k           -        -       -
state            km          km       km      km
code             km          km       km      km
code-system      k           k        k       k
number           kn          kn       kn      kn
boolean          k           k        k       k
sex              km          km       km      km
race             km          km       km      km
ethnicity        km          km       km      km
language         km          km       km      km
unit             k           k        k       k
`

var (
	lawfulStandards = []Standard{Identified, LimitedDataSet, SafeHarbor, ExpertDetermination}
	lawfulLetters   = map[Transform]string{Keep: "k", CodePerson: "c", Token: "t", Ordinal: "o", Year: "y", AgeBand: "b", Age: "a",
		ZIP3: "z", RelativeTime: "r", ShiftDate: "s", Map: "m", Round: "n"}
)

// mayLeave reads the table.
func mayLeave(t *testing.T, std Standard, class extract.Class, do Transform) bool {
	for line := range strings.Lines(lawful) {
		if cells := strings.Fields(line); len(cells) > 0 && cells[0] == class.String() {
			return strings.Contains(cells[1+slices.Index(lawfulStandards, std)], lawfulLetters[do])
		}
	}
	t.Fatal("the table has no line for", class)
	return false
}

// Over all classes, transforms and standards, Permits says what the table says.
// A constant is no value of a record, and aggregates let no field out.
func TestPermits(t *testing.T) {
	seen := 0
	for class := range extract.Class(extract.Classes) {
		for _, do := range transforms {
			if Permits(Aggregate, class, do) || Permits("", class, do) {
				t.Errorf("aggregate or no standard: %s leaves with do: %s", class, do)
			}
			for _, std := range lawfulStandards {
				seen++
				want := do == Constant || mayLeave(t, std, class, do)
				if got := Permits(std, class, do); got != want {
					t.Errorf("%s, %s, do: %s: permitted %v", std, class, do, got)
				}
			}
		}
		if Permits(Identified, class, "") || Permits(Identified, class, "drop") {
			t.Errorf("an unknown transform lets out %s", class)
		}
	}
	if seen != len(lawfulStandards)*extract.Classes*(len(lawfulLetters)+1) {
		t.Error("the table does not cover all transforms:", seen)
	}
}

// Over every element of every resource type, with the transforms that a FHIR
// element can have: what a field lets out is permitted leaf by leaf, and a whole
// element never lets out text, web addresses or what has no class.
func TestEveryElement(t *testing.T) {
	for _, std := range lawfulStandards[:3] {
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
