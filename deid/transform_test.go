package deid

import (
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

func TestYear(t *testing.T) {
	safe, _ := newRules(&policies.Policy{Standard: policies.SafeHarbor}, asOf)
	open, _ := newRules(&policies.Policy{Standard: policies.Identified}, asOf)
	limited, _ := newRules(&policies.Policy{Standard: policies.LimitedDataSet}, asOf)
	for _, c := range []struct {
		rules *rules
		class extract.Class
		date  string
		want  int // 0: no value
	}{
		{&safe, extract.BirthDate, "1936-07-01", 1936}, // 89 at as-of
		{&safe, extract.BirthDate, "1936-06-30", 1936}, // 90 today
		{&safe, extract.BirthDate, "1935-12-31", 1936},
		{&safe, extract.BirthDate, "1935", 1936},
		{&safe, extract.BirthDate, "1937-01", 1937},
		{&safe, extract.BirthDate, "0001", 1936},
		{&safe, extract.Date, "2025-03-04T05:06:07Z", 2025},
		{&safe, extract.Date, "1936", 1936},
		{&safe, extract.Date, "1935-12-31", 0},
		{&safe, extract.DeathDate, "1935-12-31", 0},
		{&safe, extract.Date, "25-03-04", 0},
		{&safe, extract.Date, "", 0},
		{&open, extract.BirthDate, "1920-01-01", 1920},
		{&open, extract.Date, "1920-01-01", 1920},
		{&limited, extract.BirthDate, "1920-01-01", 1920},
	} {
		if got, ok := c.rules.year(c.class, []byte(c.date)); ok != (c.want != 0) || ok && got != c.want {
			t.Errorf("%s %s: %d %v, want %d", c.class, c.date, got, ok, c.want)
		}
	}
}

func TestAgeBand(t *testing.T) {
	rules, _ := newRules(&policies.Policy{Standard: policies.SafeHarbor}, asOf)
	for _, c := range []struct {
		birth, death, at string
		width, top       int
		want             string
	}{
		{"1980-07-01", "", "2026-06-30", 5, 90, "45-49"},
		{"2026-06-30", "", "2026-06-30", 5, 90, "0-4"},
		{"2026-07-01", "", "2026-06-30", 5, 90, ""},
		{"1936-07-01", "", "2026-06-30", 5, 90, "85-89"},
		{"1936-06-30", "", "2026-06-30", 5, 90, "90+"},
		{"1936-06-30", "", "2024-01-01", 5, 90, "90+"}, // 87 at the index, 90 at as-of
		{"1936", "", "2026-06-30", 5, 90, "90+"},       // may be 90
		{"1981-05", "", "2026-05-15", 5, 90, ""},       // 44 or 45
		{"1980", "", "2026-06-30", 5, 90, "45-49"},     // 45 or 46
		{"1905-01-01", "1990-05-05", "2026-06-30", 5, 90, "85-89"},
		{"1905-01-01", "1999", "2026-06-30", 5, 90, "90+"},
		{"1960-01-01", "", "2026-06-30", 5, 65, "65+"},
		{"1962-01-01", "", "2025-06-30", 5, 65, "60-64"},
		{"1938-01-01", "", "2026-06-30", 20, 90, "80-89"},
		{"1980-01-01", "", "2026-06-30", 1, 90, "46"},
		{"", "", "2026-06-30", 5, 90, ""},
	} {
		s := UnknownSubject()
		if c.death != "" {
			s.Death = span(c.death)
		}
		got := rules.band(nil, &s, span(c.birth), day(c.at), &policies.Field{Width: c.width, Top: c.top})
		if string(got) != c.want {
			t.Errorf("born %s, died %s, at %s: %q, want %q", c.birth, c.death, c.at, got, c.want)
		}
	}
}

func TestNoYearOfTheFuture(t *testing.T) {
	for _, standard := range []policies.Standard{policies.Identified, policies.SafeHarbor} {
		rules, err := newRules(&policies.Policy{Standard: standard}, day("2026-06-30"))
		if err != nil {
			t.Fatal(err)
		}
		for text, want := range map[string]bool{"2026-12-31": true, "2027-12-31": true, "2028-01-01": false, "2062": false, "9999-12": false} {
			for _, c := range []extract.Class{extract.Date, extract.BirthDate} {
				if _, ok := rules.year(c, []byte(text)); ok != want {
					t.Errorf("%s, %s under %s: %v", c, text, standard, ok)
				}
			}
		}
	}
}

// No transform of Safe Harbor shows an age over 89, whatever the dates.
func TestNoAgeOver89(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		today := day("2000-01-01") + extract.Day(rapid.IntRange(0, 20000).Draw(t, "as-of"))
		born := today - extract.Day(rapid.IntRange(0, 120*366).Draw(t, "days"))
		text := born.String()[:rapid.SampledFrom([]int{4, 7, 10}).Draw(t, "precision")]
		rules, _ := newRules(&policies.Policy{Standard: policies.SafeHarbor}, today)
		if year, ok := rules.year(extract.BirthDate, []byte(text)); ok && year < today.Year()-90 {
			t.Fatalf("born %s as of %s: %d", text, today, year)
		}
		s := UnknownSubject()
		at := today - extract.Day(rapid.IntRange(0, 3000).Draw(t, "before"))
		band := string(rules.band(nil, &s, span(text), at, &policies.Field{Width: rapid.IntRange(1, 30).Draw(t, "width"), Top: 90}))
		if over := age(span(text).From, today) >= 90 && age(span(text).To, at) >= 0; over != (band == "90+") {
			t.Fatalf("born %s at %s as of %s: %s", text, at, today, band)
		}
		if strings.Contains(band, "-") && band[strings.Index(band, "-")+1:] > "89" && len(band) >= 5 {
			t.Fatalf("band %s", band)
		}
	})
}

func TestRelative(t *testing.T) {
	for _, c := range []struct{ date, index, unit, want string }{
		{"2025-03-10", "2025-03-10", "weeks", "0"},
		{"2025-03-16", "2025-03-10", "weeks", "0"},
		{"2025-03-17", "2025-03-10", "weeks", "1"},
		{"2025-03-09", "2025-03-10", "weeks", "-1"},
		{"2025-03-03", "2025-03-10", "weeks", "-1"},
		{"2025-03-02", "2025-03-10", "weeks", "-2"},
		{"2025-03-02", "2025-03-10", "days", "-8"},
		{"2025-03", "2025-03-10", "days", ""},
		{"", "2025-03-10", "days", ""},
		{"2025-03-02", "", "days", ""},
	} {
		if got := string(new(rules).relative(nil, span(c.date), span(c.index).From, c.unit)); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
	followed := rules{follow: 14}
	for date, want := range map[string]string{"2025-03-09": "", "2025-03-10": "0", "2025-03-23": "13", "2025-03-24": ""} {
		if got := string(followed.relative(nil, span(date), span("2025-03-10").From, "days")); got != want {
			t.Errorf("%s: %q", date, got)
		}
	}
}
