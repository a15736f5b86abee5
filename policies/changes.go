package policies

import (
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Delta is the Output.Mode of drops that hold what has changed.
const Delta = "delta"

// changes refuses what a drop of changes cannot tell: which row is meant,
// whether its record is still there, and values that follow from what else is
// in a drop. Such a value would change when another record is withheld, and
// tell of it (DESIGN, The second run).
func (c *checking) changes() {
	if c.Output.Mode != Delta || c.Standard == SafeHarbor || c.Standard == Aggregate || c.env.Alone { // those two refuse it
		return
	}
	const whole = "or write mode: full"
	if !c.Output.RowKey {
		c.add("output.row_key", "add row_key: yes, "+whole, "a drop of changes names rows by their keys")
	}
	if c.Cohort != nil {
		c.add("output.mode", "write mode: full", "what counts from the first record of a person changes when that record is withheld, and would tell of it")
	}
	c.eachField(func(path string, f *Field) {
		if f.Do == Ordinal {
			c.add(path+".do", "write do: token, "+whole, "an ordinal is of one drop, so from one drop to the next every row would change")
			return
		}
		for _, l := range f.Leaves {
			if l.Class == extract.Link && !isPatient(l) {
				c.add(path, "remove the field, "+whole, "a reference leaves only beside the record that it names, so its row would tell when that is withheld")
				return
			}
		}
	})
	for i := range c.Release {
		rel := &c.Release[i]
		path, schema := strictyaml.Join("release", rel.Dataset), c.env.Schemas[rel.Dataset]
		if schema != nil && find(schema, withRole(extract.RoleRecord)) == nil {
			c.add(path, "give the column of the row's id the role record in its schema, "+whole, "rows of %s have no id, by which a later drop could correct them", rel.Dataset)
		}
		for _, o := range rel.Only {
			if o.Period != "" && !isDateOf(schema, o.Path) {
				c.add(strictyaml.Join(path+".only", o.Path), "ask for date, "+whole, "the period is not one of the record's date, so of a record that is gone nobody knows whether it lay in it")
			}
		}
	}
}

// isDateOf tells whether a path is the date of the record.
func isDateOf(schema *extract.Schema, path string) bool {
	if path == "date" || schema == nil {
		return path == "date"
	}
	column := find(schema, named(path))
	return column != nil && column.Role == extract.RoleDate
}
