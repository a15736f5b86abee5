package synthetic

import (
	"fmt"
	"math/rand/v2"
	"strconv"
)

const visitsFile = "extract/visits/visits.csv"

// writeVisits writes a person's visits: the first, those that follow, the
// missed ones, and now and then a crisis, which somebody should soon follow up.
// They have a random stream of their own, so that nothing else depends on them.
func (c *clinic) writeVisits(p *person) {
	c.random = rand.New(rand.NewPCG(c.Seed^0x7669736974, uint64(p.number)))
	visits := 2 + c.random.IntN(9)
	step := max(1, c.days/visits)
	day, crisis := c.from+c.random.IntN(step), 0
	for n := 1; n <= visits && day < c.from+c.days; n++ {
		v := stay{id: fmt.Sprintf("V-%d-%02d", p.number, n), date: date(day), kind: "follow-up", outcome: "kept"}
		switch {
		case n == 1:
			v.kind = "first-visit"
		case crisis > 0:
			v.days, crisis = strconv.Itoa(day-crisis), 0
		default:
			c.happen(&v, day, &crisis)
		}
		c.writeVisit(p, &v)
		if day += 1 + step/2 + c.random.IntN(step); crisis > 0 && c.chance(75) {
			day = crisis + 1 + c.random.IntN(20)
		} else {
			crisis = 0
		}
	}
}

type stay struct{ id, date, kind, outcome, discharged, days string }

func (c *clinic) happen(v *stay, day int, crisis *int) {
	switch n := c.random.IntN(100); {
	case n < 8:
		v.kind, *crisis = "crisis", day
	case n < 13:
		v.kind = "emergency"
	case n < 17:
		v.kind, v.discharged = "inpatient", date(day+2+c.random.IntN(12))
	case n < 30:
		v.outcome = "no-show"
	case n < 36:
		v.outcome = "cancelled"
	case n < 42:
		v.kind = "telephone"
	}
}

func (c *clinic) writeVisit(p *person, v *stay) {
	c.row(visitsFile, v.id, p.id, v.date, v.kind, v.outcome, v.discharged, v.days, p.clinician.number, p.birthDate, p.sex(), p.race.text,
		p.ethnicity.text, p.home.city, p.home.state, p.home.zip, p.phone)
}

// drugScreening is the questionnaire that only the Part 2 program uses.
var drugScreening = instrument{"82667-7", "Total score [DAST-10]", nil, 1, false}

// writeDrugScreening writes a visit with a score every few months, after hours.
func (c *clinic) writeDrugScreening(p *person) {
	if !p.inProgram {
		return
	}
	n := 901
	for day := c.from + c.random.IntN(90); day < c.from+c.days; day += 90 + c.random.IntN(90) {
		v := newVisit(p.number, n, day, 18*60)
		s := &score{id: fmt.Sprintf("O-%d-%d-4", p.number, n), tool: &drugScreening, total: c.random.IntN(11), status: "final"}
		c.writeEncounter(p, v)
		c.writeScore(p, v, s)
		c.writeObservation(p, v, s)
		n++
	}
}
