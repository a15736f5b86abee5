package policies

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
)

// gives is what comes out of each transform, in words.
var gives = map[Transform]string{
	Keep:         "the same class",
	CodePerson:   "a random code that means nothing beyond the epoch",
	Year:         "a year; of births, those of 90 and older are one group",
	AgeBand:      "a group of ages, 90 and older one of them",
	Age:          "an age in whole years, 90+ from 90 on",
	ZIP3:         "three digits, 000 where 20,000 people or fewer live",
	RelativeTime: "a number of days or weeks",
	ShiftDate:    "a day of the same class that is not the true one",
	Token:        "a keyed code that means nothing beyond the epoch",
	Ordinal:      "a number that means nothing beyond the drop",
	Map:          "a code of the same class, of a closed list",
	Round:        "a number, a multiple of the step",
	Region:       "a region of the Census Bureau, larger than a state",
	Band:         "a band of numbers, of a closed list",
	CodeDisplay:  "the words that the policy's own file has for a code",
	KeepIn:       "the same value, of a closed list",
	Constant:     "the policy's own text, the same in every row",
}

// The class map of the transforms is printed from what the check goes by.
func TestTransformsPage(t *testing.T) {
	var table strings.Builder
	fmt.Fprint(&table, "| do | takes | gives | under |\n| --- | --- | --- | --- |\n")
	for _, do := range transforms {
		takes := "any class"
		if classes, limited := sources[do]; limited {
			var names []string
			for _, c := range classes {
				names = append(names, c.String())
			}
			takes = strings.Join(names, ", ")
		} else if do == Constant {
			takes = "nothing"
		}
		var under []string
		for _, std := range []Standard{Identified, LimitedDataSet, SafeHarbor, ExpertDetermination} {
			if slices.ContainsFunc(slices.Collect(everyClass), func(c extract.Class) bool { return Permits(std, c, do) }) {
				under = append(under, string(std))
			}
		}
		if gives[do] == "" {
			t.Errorf("what %s gives is not said", do)
		}
		fmt.Fprintf(&table, "| `%s` | %s | %s | %s |\n", do, takes, gives[do], strings.Join(under, ", "))
	}
	const page, begin, end = "../docs/transforms.md", "<!-- classes of the transforms -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	was, after, found := strings.Cut(rest, end)
	switch {
	case os.Getenv("UPDATE_GOLDEN") != "" && found:
		if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	case was != table.String():
		t.Errorf("%s does not say what the check goes by:\n%s", page, table.String())
	}
}

func everyClass(yield func(extract.Class) bool) {
	for c := range extract.Class(extract.Classes) {
		if !yield(c) {
			return
		}
	}
}
