package extract

import "time"

// Day is a civil date as days since 1970-01-01.
type Day int32

// NoDay marks a date that is absent or unreadable.
const NoDay Day = -1 << 31

// Span is the range of days that a date of any precision may mean: From and
// To are equal for a full date, the first and last day for a month or a year.
type Span struct{ From, To Day }

// NoSpan marks an absent or unreadable date.
var NoSpan = Span{NoDay, NoDay}

// Known tells whether the span holds a date.
func (s Span) Known() bool { return s.From != NoDay }

// DayOf is the civil date of t in t's own location.
func DayOf(t time.Time) Day {
	y, m, d := t.Date()
	return Day(time.Date(y, m, d, 0, 0, 0, 0, time.UTC).Unix() / 86400)
}

// Time is the start of the day in UTC.
func (d Day) Time() time.Time { return time.Unix(int64(d)*86400, 0).UTC() }

// Year is the calendar year of the day.
func (d Day) Year() int { return d.Time().Year() }

func (d Day) String() string {
	if d == NoDay {
		return "no date"
	}
	return d.Time().Format(time.DateOnly)
}

// ParseSpan reads a FHIR date, dateTime or instant, or an ISO date with
// YYYY, YYYY-MM or YYYY-MM-DD precision (FHIR R4 §2.24.0.1). The time of day
// and zone are ignored: the civil date as written is the date of the event.
// ok is false when value is none of these.
func ParseSpan(value []byte) (s Span, ok bool) {
	y, rest, ok := digits(value, 4)
	if !ok || y == 0 {
		return NoSpan, false
	}
	if len(rest) == 0 {
		return Span{civil(y, 1, 1), civil(y, 12, 31)}, true
	}
	if rest[0] != '-' {
		return NoSpan, false
	}
	m, rest, ok := digits(rest[1:], 2)
	if !ok || m < 1 || m > 12 {
		return NoSpan, false
	}
	if len(rest) == 0 {
		return Span{civil(y, m, 1), civil(y, m, daysIn(y, m))}, true
	}
	if rest[0] != '-' {
		return NoSpan, false
	}
	d, rest, ok := digits(rest[1:], 2)
	if !ok || d < 1 || d > 28 && d > daysIn(y, m) || len(rest) > 0 && rest[0] != 'T' && rest[0] != ' ' {
		return NoSpan, false
	}
	day := civil(y, m, d)
	return Span{day, day}, true
}

func digits(b []byte, n int) (v int, rest []byte, ok bool) {
	if len(b) < n {
		return 0, nil, false
	}
	for _, c := range b[:n] {
		if c < '0' || c > '9' {
			return 0, nil, false
		}
		v = v*10 + int(c-'0')
	}
	return v, b[n:], true
}

func daysIn(y, m int) int { return int(civil(y, m+1, 1) - civil(y, m, 1)) }

// civil is the day number of a proleptic Gregorian date; month 13 is the next
// January. time.Date would cost three times as much.
func civil(y, m, d int) Day {
	if m <= 2 {
		y--
	}
	era := y / 400
	yoe := y - era*400
	mp := (m + 9) % 12
	doy := (153*mp+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return Day(era*146097 + doe - 719468)
}
