package synthetic

import "math/rand/v2"

// writeMess adds the records that every extract has and nobody ordered: one
// that is no JSON, one doubled, one id with two contents, one about nobody, and
// a row with a column too many.
func (c *clinic) writeMess() {
	c.random = rand.New(rand.NewPCG(c.Seed, 0))
	name := fhirFile("Observation")
	p := &person{number: 999901, id: "CV-100001", given: "Hope", family: "White", phone: "(413) 555-0100", clinician: clinicians[0]}
	v := newVisit(100001, 1, c.from, 600)
	s := &score{id: "O-999901-001-1", tool: &instruments[0], total: 11, status: "final"}
	c.writef(name, `{"resourceType":"Observation","id":"O-999900-001-1","status":`+"\n")
	c.writeObservation(p, v, s)
	c.writeObservation(p, v, s)
	s.id, s.total = "O-999902-001-1", 5
	c.writeObservation(p, v, s)
	s.total = 6
	c.writeObservation(p, v, s)
	c.writef(name, `{"resourceType":"Observation","id":"O-999903-001-1","status":"final","code":{"coding":[{"system":"http://loinc.org","code":"44261-6"}]},"valueInteger":7}`+"\n")
	c.writef(scoresFile, "O-999904-001-1,CV-100001,E-100001-001,%s,44261-6,9,final,,,,,,,,,one too many\n", v.date)
	c.writef(scoresFile, "O-999905-001-1,CV-100001,E-100001-001,%s,44261-6,many,final,%s,,,,,,,\n", v.date, clinicians[0].number)
}
