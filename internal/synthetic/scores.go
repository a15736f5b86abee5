package synthetic

import (
	"strconv"
	"strings"
)

const scoresFile = "extract/scores/scores.csv"

// column is one column of a delimited file, as its schema declares it.
type column struct{ name, kind, class, role, constraints string }

const required = `"required": true`

var scoreColumns = []column{
	{"record_id", "string", "record-key", "record", required},
	{"person_id", "string", "subject-key", "subject", required},
	{"encounter_id", "string", "record-key", "encounter", ""},
	{"service_date", "date", "date", "date", required},
	{"instrument", "string", "code", "code", required},
	{"total_score", "integer", "number", "", `"minimum": 0, "maximum": 27`},
	{"status", "string", "code", "status", ""},
	{"provider_npi", "string", "provider-key", "provider", ""},
	{"birth_date", "date", "birth-date", "", ""},
	{"sex", "string", "sex", "", `"enum": ["female", "male", "other", "unknown"]`},
	{"race", "string", "race", "", ""},
	{"ethnicity", "string", "ethnicity", "", ""},
	{"language", "string", "language", "", ""},
	{"state", "string", "state", "", ""},
	{"zip", "string", "postcode", "", ""},
}

// writeSchema writes the Frictionless Table Schema of a delimited file, whose
// first column is the record's id.
func (c *clinic) writeSchema(dataset, description string, columns []column) {
	name := "schemas/" + dataset + ".json"
	c.writef(name, `{
  "name": "%s",
  "description": "%s",
  "dialect": {"delimiter": ",", "header": true},
  "primaryKey": "%s",
  "missingValues": [""],
  "fields": [
`, dataset, description, columns[0].name)
	for i, column := range columns {
		role, constraints, end := "", "", ","
		if i == len(columns)-1 {
			end = ""
		}
		if column.role != "" {
			role = `, "role": "` + column.role + `"`
		}
		if column.constraints != "" {
			constraints = `, "constraints": {` + column.constraints + `}`
		}
		c.writef(name, `    {"name": "%s", "type": "%s", "class": "%s"%s%s}%s`+"\n", column.name, column.kind, column.class, role, constraints, end)
	}
	c.writef(name, "  ]\n}\n")
	c.summary.Records[name] = 1
}

func headerOf(columns []column) string {
	names := make([]string, len(columns))
	for i, column := range columns {
		names[i] = column.name
	}
	return strings.Join(names, ",")
}

func (c *clinic) writeHeaders() {
	c.header(scoresFile, headerOf(scoreColumns))
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
