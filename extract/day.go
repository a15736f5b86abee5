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
func (d Day) Year() int {
	z := int(d) + 719468 // days since 0000-03-01
	era := z / 146097
	if z < 0 {
		era = (z - 146096) / 146097
	}
	doe := z - era*146097
	yoe := (doe - doe/1460 + doe/36524 - doe/146096) / 365
	y := yoe + era*400
	if doe-(365*yoe+yoe/4-yoe/100) >= 306 { // January and February
		y++
	}
	return y
}

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
	if len(value) < 4 {
		return NoSpan, false
	}
	y := 100*two(value[0], value[1]) + two(value[2], value[3])
	switch {
	case y <= 0:
		return NoSpan, false
	case len(value) == len("2006"):
		return Span{civil(y, 1, 1), civil(y, 12, 31)}, true
	case len(value) < len("2006-01") || value[4] != '-':
		return NoSpan, false
	}
	m := two(value[5], value[6])
	switch {
	case m < 1 || m > 12:
		return NoSpan, false
	case len(value) == len("2006-01"):
		return Span{civil(y, m, 1), civil(y, m, daysIn(y, m))}, true
	case len(value) < len("2006-01-02") || value[7] != '-':
		return NoSpan, false
	}
	d := two(value[8], value[9])
	if d < 1 || d > 28 && d > daysIn(y, m) || len(value) > 10 && value[10] != 'T' && value[10] != ' ' {
		return NoSpan, false
	}
	day := civil(y, m, d)
	return Span{day, day}, true
}

// two is the number of two digits; far below zero when one is none.
func two(tens, units byte) int {
	if tens -= '0'; tens > 9 {
		return -1e6
	}
	if units -= '0'; units > 9 {
		return -1e6
	}
	return 10*int(tens) + int(units)
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
