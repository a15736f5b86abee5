package synthetic

import (
	"fmt"
	"math/rand/v2"
	"strings"
)

type person struct {
	number                    int
	id                        string // Patient.id, and the id in every delimited file
	given, family, maidenName string
	male                      bool
	birthDate, deathDate      string // deathDate is "" of the living
	race, ethnicity           coded
	language                  string
	home                      place
	street, phone, email      string
	ssn, recordNumber         string
	member                    string // number at the health plan; "" for other payers
	inProgram                 bool   // treated in the Part 2 program
	diagnosis                 coded
	clinician                 clinician
}

type coded struct{ code, text string }

type place struct{ city, state, zip string }

var (
	givenNames = strings.Fields(`Aldric Amabel Anselm Ardith Basil Bettina Briony Calla Caspian Celandine Corin Dahlia
		Dorian Edric Elspeth Emlyn Fenella Florian Gideon Ginevra Hope Idris Imelda Ivo Jocasta Jory Juniper Kester Lark
		Leopold Linnea Lysander Mark Marigold May Merrick Nerissa Odette Orrin Peregrine Petra Quillon Rosalba Rowan Rufus
		Sable Saffron Tamsin Tobias Ursula Verity Wilfred Will Xanthe Yseult Zephyr`)
	familyNames = strings.Fields(`Abernoth Ashgrove Banks Bell Birdwhistle Black Bramblewick Brown Byrne-Holloway Carrowmore
		Church Cobblepot Cook Day Dunmorrow Eastlake Elderwood Farthingale Fennimore Fieldgate Foxglove Frost Garrowby
		Gillenwater Green Hallowell Harrowgate Hope Inglethorn Jessamine King Kittredge Lanternby Larkmoor Little Long
		Marchbanks May Mossgrave Nettleship Nightingale Oakhollow O'Dellamy Pennyfeather Pettibone Price Quillfeather Rivers
		Rookhurst Rush Sallowfield Short Silverlake Stone Strong Thistlewood Tolliver Underhay Vantrease Waters Weatherwax
		White Wildgoose Wood Yarrowby Young Zellerbrook`)
	streets = []string{"Nonesuch Lane", "Lantern Street", "Mill Pond Road", "Old Quarry Avenue", "Juniper Court", "Second Street"}
	places  = []place{{"Clearview", "MA", "02139"}, {"Clearview", "MA", "02140"}, {"Millbrook", "MA", "01060"},
		{"Harbor Falls", "MA", "02601"}, {"Northfield", "NH", "03301"}, {"Stonebridge", "NH", "03601"}, {"Elmford", "VT", "05401"},
		{"Ridgeway", "VT", "05901"}, {"Eastlake", "CT", "06103"}, {"Weston Hill", "ME", "04101"}}
	races = []coded{{"2106-3", "White"}, {"2106-3", "White"}, {"2106-3", "White"}, {"2106-3", "White"},
		{"2054-5", "Black or African American"}, {"2054-5", "Black or African American"}, {"2028-9", "Asian"},
		{"1002-5", "American Indian or Alaska Native"}, {"2076-8", "Native Hawaiian or Other Pacific Islander"}, {"2131-1", "Other Race"}}
	ethnicities = []coded{{"2186-5", "Not Hispanic or Latino"}, {"2186-5", "Not Hispanic or Latino"},
		{"2186-5", "Not Hispanic or Latino"}, {"2135-2", "Hispanic or Latino"}}
	languages = []string{"en", "en", "en", "en", "en", "es", "es", "pt", "vi", "zh", "ht", "ar"}
	disorders = []coded{{"F32.0", "Major depressive disorder, single episode, mild"},
		{"F32.1", "Major depressive disorder, single episode, moderate"}, {"F33.1", "Major depressive disorder, recurrent, moderate"},
		{"F41.1", "Generalized anxiety disorder"}, {"F41.9", "Anxiety disorder, unspecified"}, {"F43.10", "Post-traumatic stress disorder"}}
	substanceUse = []coded{{"F10.20", "Alcohol dependence, uncomplicated"}, {"F11.20", "Opioid dependence, uncomplicated"},
		{"F12.10", "Cannabis abuse, uncomplicated"}}
)

// invent makes the i-th patient; c.random is that patient's own stream, so that
// one patient never depends on another.
func (c *clinic) invent(i int) *person {
	c.random = rand.New(rand.NewPCG(c.Seed, uint64(i)+1))
	p := &person{number: 100001 + i, male: c.chance(45), given: pick(c, givenNames), family: pick(c, familyNames),
		maidenName: pick(c, familyNames), race: pick(c, races), ethnicity: pick(c, ethnicities), language: pick(c, languages),
		home: pick(c, places), diagnosis: pick(c, disorders)}
	p.id = fmt.Sprintf("CV-%d", p.number)
	p.recordNumber = fmt.Sprintf("MR%d-%04d", p.number/10000, p.number%10000)
	p.ssn = fmt.Sprintf("9%02d-%02d-%04d", p.number/1000000%100, p.number/10000%100, p.number%10000)
	p.phone = fmt.Sprintf("(%d) 555-01%02d", pick(c, []int{413, 508, 603, 802, 860}), c.random.IntN(100))
	p.street = fmt.Sprintf("%d %s", 1+c.random.IntN(999), pick(c, streets))
	p.email = strings.ToLower(fmt.Sprintf("%s.%s%d@mail.example", p.given, strings.ReplaceAll(p.family, "'", ""), p.number))
	born, end := c.birth(), c.from+c.days
	p.birthDate = date(born)
	if c.chance(20) && end-born > 28000 {
		p.deathDate = date(end - c.random.IntN(100))
	}
	if c.chance(65) {
		p.member = fmt.Sprintf("ACM%09d", 7*p.number+c.random.IntN(7))
	}
	p.inProgram = c.chance(12)
	p.clinician = pick(c, clinicians[:ordinaryClinicians])
	if p.inProgram {
		p.diagnosis, p.clinician = pick(c, substanceUse), pick(c, clinicians[ordinaryClinicians:])
	} else if c.chance(3) {
		p.diagnosis = pick(c, substanceUse) // a code alone makes no Part 2 record
	}
	return p
}

// birth gives a tenth of the patients an age of 12 to 17 at the end, and one
// in twenty an age over 89.
func (c *clinic) birth() int {
	years, spread := 18, 71
	switch n := c.random.IntN(100); {
	case n < 10:
		years, spread = 12, 6
	case n < 15:
		years, spread = 90, 10
	}
	return c.from + c.days - years*365 - c.random.IntN(spread*365) - years/4 - 1
}

func (p *person) sex() string {
	if p.male {
		return "male"
	}
	return "female"
}

func (p *person) name() string { return p.given + " " + p.family }
