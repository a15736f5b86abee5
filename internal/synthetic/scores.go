package synthetic

import "strconv"

const (
	scoresFile = "extract/scores/scores.csv"
	schemaFile = "schemas/scores.json"
)

// scoreColumns are the columns of the file of scores, with the type, class
// and role that its schema declares.
var scoreColumns = [][4]string{
	{"record_id", "string", "record-key", "record"},
	{"person_id", "string", "subject-key", "subject"},
	{"encounter_id", "string", "record-key", "encounter"},
	{"service_date", "date", "date", "date"},
	{"instrument", "string", "code", "code"},
	{"total_score", "integer", "number", ""},
	{"status", "string", "code", "status"},
	{"provider_npi", "string", "provider-key", "provider"},
	{"birth_date", "date", "birth-date", ""},
	{"sex", "string", "sex", ""},
	{"race", "string", "race", ""},
	{"ethnicity", "string", "ethnicity", ""},
	{"language", "string", "language", ""},
	{"state", "string", "state", ""},
	{"zip", "string", "postcode", ""},
}

// writeSchema writes the Frictionless Table Schema of the file of scores.
func (c *clinic) writeSchema() {
	c.writef(schemaFile, `{
  "name": "scores",
  "description": "One total score of a questionnaire a row",
  "dialect": {"delimiter": ",", "header": true},
  "primaryKey": "record_id",
  "missingValues": [""],
  "fields": [
`)
	for i, column := range scoreColumns {
		end := ","
		if i == len(scoreColumns)-1 {
			end = ""
		}
		role, constraints := "", ""
		if column[3] != "" {
			role = `, "role": "` + column[3] + `"`
		}
		switch column[0] {
		case "record_id", "person_id", "service_date", "instrument":
			constraints = `, "constraints": {"required": true}`
		case "total_score":
			constraints = `, "constraints": {"minimum": 0, "maximum": 27}`
		case "sex":
			constraints = `, "constraints": {"enum": ["female", "male", "other", "unknown"]}`
		}
		c.writef(schemaFile, `    {"name": "%s", "type": "%s", "class": "%s"%s%s}%s`+"\n", column[0], column[1], column[2], role, constraints, end)
	}
	c.writef(schemaFile, "  ]\n}\n")
	c.summary.Records[schemaFile] = 1
}

func (c *clinic) writeHeaders() {
	names := ""
	for i, column := range scoreColumns {
		if i > 0 {
			names += ","
		}
		names += column[0]
	}
	c.header(scoresFile, names)
	c.header(rosterFile, "subject,member_id,from,to,plan")
	c.header(registryFile, "patient,scope,decision,status,recipient,purpose,categories,from,to,signed_on,form,source_document,ended_on,ended_by")
	c.header(restrictionsFile, "subject,kind,recipient,plan,encounter,service,from,to,ended_on,ended_by")
	c.header(programsFile, "kind,id,from,to")
	c.writePrograms()
}

func (c *clinic) writeScore(p *person, v *visit, s *score) {
	b := append(c.line[:0], s.id...)
	for _, cell := range [...]string{p.id, v.id, v.date, s.tool.loinc} {
		b = append(append(b, ','), cell...)
	}
	b = strconv.AppendInt(append(b, ','), int64(s.total), 10)
	for _, cell := range [...]string{s.status, p.clinician.number, p.birthDate, p.sex(), p.race.text, p.ethnicity.text,
		p.language, p.home.state, p.home.zip} {
		b = append(append(b, ','), cell...)
	}
	c.line = append(b, '\n')
	c.write(scoresFile, c.line)
}
