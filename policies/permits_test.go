package policies_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// lawful is what may leave of each class, said a second time from the law: a
// column for each standard, a letter for each transform. Names, numbers of
// telephones to photographs leave only as they are and identified, and so does text
// but for the words of a closed list; a
// limited data set keeps dates, ages, town, ZIP code and providers' numbers;
// Safe Harbor keeps the year, intervals, age groups, three digits and random or
// drop-local codes; an expert's determination has tokens and shifted dates beside.
const lawful = `
class            identified  limited  harbor  expert
unclassed        -           -        -       -
name             k           -        -       -
geography        k           -        -       -
town             k           k        -       -
postcode         kzg         kzg      zg      zg
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
other-unique     ko          ot       o       ot
subject-key      kc          ct       c       ct
record-key       ko          ot       o       ot
link             kco         cot      co      cot
provider-key     k           kt       -       t
free-text        kwi         wi       wi      wi
state            kmgi        kmgi     kmgi    kmgi
code             kmwi        kmwi     kmwi    kmwi
code-system      k           k        k       k
number           knd         knd      knd     knd
boolean          k           k        k       k
sex              kmwi        kmwi     kmwi    kmwi
race             kmwi        kmwi     kmwi    kmwi
ethnicity        kmwi        kmwi     kmwi    kmwi
language         kmwi        kmwi     kmwi    kmwi
unit             k           k        k       k
`

var (
	lawfulStandards = []policies.Standard{policies.Identified, policies.LimitedDataSet, policies.SafeHarbor, policies.ExpertDetermination}
	lawfulLetters   = map[policies.Transform]string{policies.Keep: "k", policies.CodePerson: "c", policies.Token: "t", policies.Ordinal: "o",
		policies.Year: "y", policies.AgeBand: "b", policies.Age: "a", policies.ZIP3: "z", policies.RelativeTime: "r", policies.ShiftDate: "s", policies.Map: "m", policies.Round: "n",
		policies.Region: "g", policies.Band: "d", policies.CodeDisplay: "w", policies.KeepIn: "i"}
)

// mayLeave reads the table.
func mayLeave(t *testing.T, std policies.Standard, class extract.Class, do policies.Transform) bool {
	for line := range strings.Lines(lawful) {
		if cells := strings.Fields(line); len(cells) > 0 && cells[0] == class.String() {
			return strings.Contains(cells[1+slices.Index(lawfulStandards, std)], lawfulLetters[do])
		}
	}
	t.Fatal("the table has no line for " + class.String())
	return false
}

// Over all classes, transforms and standards, Permits says what the table says.
// A constant is no value of a record, and aggregates let no field out.
func TestPermits(t *testing.T) {
	for class := range extract.Class(extract.Classes) {
		for do := range lawfulLetters {
			if policies.Permits(policies.Aggregate, class, do) || policies.Permits("", class, do) {
				t.Errorf("aggregate or no standard: %s leaves with do: %s", class, do)
			}
			for _, std := range lawfulStandards {
				if got := policies.Permits(std, class, do); got != mayLeave(t, std, class, do) {
					t.Errorf("%s, %s, do: %s: permitted %v", std, class, do, got)
				}
			}
		}
		if policies.Permits(policies.Identified, class, "") || policies.Permits(policies.Identified, class, "drop") {
			t.Errorf("an unknown transform lets out %s", class)
		}
		for _, std := range lawfulStandards {
			if !policies.Permits(std, class, policies.Constant) {
				t.Errorf("%s: a constant is held to be a %s", std, class)
			}
		}
	}
}
