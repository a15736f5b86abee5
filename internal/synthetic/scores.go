package synthetic

import (
	"embed"
	"errors"
	"strconv"
)

const scoresFile = "extract/scores/scores.csv"

// schemas are those of the delimited files (Frictionless Table Schema).
//
//go:embed schemas
var schemas embed.FS

func (c *clinic) writeSchema(dataset string) {
	name := "schemas/" + dataset + ".json"
	text, err := schemas.ReadFile(name)
	c.broken = errors.Join(c.broken, err)
	c.write(name, text)
}

func (c *clinic) writeHeaders() {
	c.header(scoresFile, "record_id,person_id,encounter_id,service_date,instrument,total_score,status,provider_npi,birth_date,sex,race,ethnicity,language,state,zip")
	c.header(rosterFile, "subject,member_id,from,to,plan")
	c.header(registryFile, "patient,scope,decision,status,recipient,purpose,categories,from,to,signed_on,form,source_document,ended_on,ended_by")
	c.header(restrictionsFile, "subject,kind,recipient,plan,encounter,service,from,to,ended_on,ended_by")
	c.header(programsFile, "kind,id,from,to")
	c.writePrograms()
}

func (c *clinic) writeScore(p *person, v *visit, s *score) {
	c.row(scoresFile, s.id, p.id, v.id, v.date, s.tool.loinc, strconv.Itoa(s.total), s.status, p.clinician.number, p.birthDate, p.sex(),
		p.race.text, p.ethnicity.text, p.language, p.home.state, p.home.zip)
}

// row writes a row of a delimited file, of whose cells none needs quotes.
func (c *clinic) row(name string, cells ...string) {
	c.line = c.line[:0]
	for _, cell := range cells {
		c.line = append(append(c.line, cell...), ',')
	}
	c.line[len(c.line)-1] = '\n'
	c.write(name, c.line)
}
