package synthetic

import "fmt"

// instrument is a questionnaire with a total score.
type instrument struct {
	loinc, name string
	items       []string // LOINC codes of the answers
	most        int      // of one answer
	quantity    bool     // the total is written as a Quantity, otherwise as an integer
}

var instruments = []instrument{
	{"44261-6", "Patient Health Questionnaire 9 item (PHQ-9) total score [Reported]",
		[]string{"44250-9", "44255-8", "44259-0", "44254-1", "44251-7", "44258-2", "44252-5", "44253-3", "44260-8"}, 3, true},
	{"70274-6", "Generalized anxiety disorder 7 item (GAD-7) total score [Reported.PHQ]",
		[]string{"69725-0", "68509-9", "69733-4", "69734-2", "69735-9", "69689-8", "69736-7"}, 3, false},
	{"75626-2", "Total score [AUDIT-C]", []string{"68518-0", "68519-8", "68520-6"}, 4, false},
}

// visit is one encounter with the scores taken at it.
type visit struct {
	id, date         string
	begin, end, late string // when it began and ended, and its note was written
	number           int
}

func newVisit(patient, number, day, minute int) *visit {
	v := &visit{id: fmt.Sprintf("E-%d-%03d", patient, number), date: date(day), number: number}
	at := func(minute int) string { return fmt.Sprintf("%sT%02d:%02d:00-05:00", v.date, minute/60, minute%60) }
	v.begin, v.end, v.late = at(minute), at(minute+50), at(minute+55)
	return v
}

type score struct {
	id      string
	tool    *instrument
	total   int
	answers []int
	status  string
	shown   bool // the answers are in the record
}

// writeCourse writes a patient's visits until so many scores are out. People
// come in worse than they leave.
func (c *clinic) writeCourse(p *person, scores int) (first *visit) {
	visits := scores/2 + 1
	severity := 0.35 + 0.5*c.random.Float64()
	step := max(1, (c.days-1)/(visits+1))
	start := c.random.IntN(step)
	for n := 0; scores > 0; n++ {
		v := newVisit(p.number, n+1, c.from+min(c.days-1, start+n*step+c.random.IntN(max(1, step/2))), 480+15*c.random.IntN(36))
		if first == nil {
			first = v
		}
		c.writeEncounter(p, v)
		for k := range instruments {
			if scores == 0 || k == 1 && c.chance(20) || k == 2 && !p.inProgram && c.chance(85) {
				continue
			}
			s := c.answer(p, v, k, severity)
			c.writeScore(p, v, s)
			c.writeObservation(p, v, s)
			scores--
		}
		if c.chance(20) {
			c.writeNote(p, v)
		}
		severity = max(0.05, severity*(0.82+0.22*c.random.Float64()))
	}
	return first
}

func (c *clinic) answer(p *person, v *visit, k int, severity float64) *score {
	s := &score{id: "O" + v.id[1:] + "-" + string(rune('1'+k)), tool: &instruments[k], status: "final", shown: c.chance(35)}
	s.answers = make([]int, 0, len(s.tool.items))
	switch n := c.random.IntN(100); {
	case n < 4:
		s.status = "amended"
	case n < 6:
		s.status = "entered-in-error"
	case n < 7:
		s.status = "preliminary"
	}
	for range s.tool.items {
		a := min(s.tool.most, int(severity*float64(s.tool.most+1)*(0.4+1.1*c.random.Float64())))
		s.answers = append(s.answers, a)
		s.total += a
	}
	return s
}
