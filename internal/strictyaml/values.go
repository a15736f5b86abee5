package strictyaml

import (
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

// Percent is a share written as 10% or 0.5%; 0.01 is one per cent.
type Percent float64

func (p *Percent) UnmarshalNode(n Node) {
	if !n.want(yaml.ScalarNode) {
		return
	}
	digits, signed := strings.CutSuffix(n.Text(), "%")
	share, err := Decimal(strings.TrimSpace(digits))
	if !signed || err != nil || share < 0 || share > 100 {
		n.Fail("write it as 10%", "%q is no percentage from 0%% to 100%%", n.Text())
		return
	}
	*p = Percent(share / 100)
}

// Duration is a length of time written as 35 days, 1 day, 52 weeks, 7 years,
// 12 hours, 90s or 2m. A year counts 366 days, so that what is kept for years
// is never kept too short; months have no fixed length and are refused.
type Duration time.Duration

// MaxDuration is the longest time that may be written.
const MaxDuration = 100 * year

const (
	day  = 24 * time.Hour
	year = 366 * day
)

var units = map[string]time.Duration{
	"s": time.Second, "second": time.Second, "seconds": time.Second,
	"m": time.Minute, "minute": time.Minute, "minutes": time.Minute,
	"h": time.Hour, "hour": time.Hour, "hours": time.Hour,
	"d": day, "day": day, "days": day,
	"w": 7 * day, "week": 7 * day, "weeks": 7 * day,
	"year": year, "years": year,
}

// ParseDuration reads a Duration.
func ParseDuration(text string) (d Duration, ok bool) {
	end := strings.IndexFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	if end <= 0 {
		return 0, false
	}
	count, err := strconv.ParseInt(text[:end], 10, 32)
	unit := units[strings.TrimPrefix(text[end:], " ")]
	if err != nil || unit == 0 || time.Duration(count) > MaxDuration/unit {
		return 0, false
	}
	return Duration(time.Duration(count) * unit), true
}

func (d *Duration) UnmarshalNode(n Node) {
	if !n.want(yaml.ScalarNode) {
		return
	}
	parsed, ok := ParseDuration(n.Text())
	if !ok {
		n.Fail("write it as 35 days, 52 weeks, 7 years, 12 hours, 90s or 2m", "%q is no length of time up to 100 years", n.Text())
		return
	}
	*d = parsed
}

// Date is a civil date, written 2026-01-01, or the word open where a period
// has no end. The zero Date is an absent one.
type Date struct {
	Open bool
	day  time.Time
}

// IsZero tells whether there is neither a date nor the word open.
func (d Date) IsZero() bool { return !d.Open && d.day.IsZero() }

// Time is the start of the day in UTC; the zero time when the date is open or
// absent.
func (d Date) Time() time.Time { return d.day }

func (d Date) String() string {
	switch {
	case d.Open:
		return "open"
	case d.IsZero():
		return "no date"
	}
	return d.day.Format(time.DateOnly)
}

func (d *Date) UnmarshalNode(n Node) {
	if !n.want(yaml.ScalarNode) {
		return
	}
	if n.Text() == "open" {
		d.Open = true
		return
	}
	at, err := time.Parse(time.DateOnly, n.Text())
	if err != nil || at.Year() < 1800 {
		n.Fail("write it as 2026-01-31", "%q is no date", n.Text())
		return
	}
	d.day = at
}
