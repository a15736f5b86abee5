package extract

import (
	"testing"
	"time"
)

// Package time is the other reckoner: every day of the years 1 to 2400.
func TestDaysAsPackageTimeHasThem(t *testing.T) {
	first := time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	for at := first; at.Year() < 2400; at = at.AddDate(0, 0, 1) {
		want := Day(at.Unix() / 86400)
		if at.Unix()%86400 != 0 {
			t.Fatal("a day that does not begin at midnight")
		}
		span, ok := ParseSpan(at.AppendFormat(nil, time.DateOnly))
		if !ok || span.From != want || span.To != want || want.Year() != at.Year() {
			t.Fatalf("%s: %v, %v, year %d", at.Format(time.DateOnly), span, ok, want.Year())
		}
	}
}

func TestWhatIsNoDate(t *testing.T) {
	for _, text := range []string{"", "2", "202", "0000", "0000-01-01", "2O26", "20260102", "2026-", "2026-1", "2026-13", "2026-00", "2026-0a", "2026/01/02",
		"2026-01-", "2026-01-1", "2026-01-32", "2026-01-00", "2025-02-29", "1900-02-29", "2026-01-021", "2026-01-02t10:00", "-026-01-02", "2026-01/02", "２０２６"} {
		if span, ok := ParseSpan([]byte(text)); ok || span != NoSpan {
			t.Errorf("%q is taken for %v", text, span)
		}
	}
	for text, want := range map[string]int{"2024": 365, "2026": 364, "2024-02": 28, "2026-02": 27, "2026-12": 30, "2026-02-03T10:00:00Z": 0, "2026-02-03 10:00": 0, "2024-02-29": 0} {
		if span, ok := ParseSpan([]byte(text)); !ok || int(span.To-span.From) != want {
			t.Errorf("%q: %v, %v", text, span, ok)
		}
	}
}
