package policies

import "github.com/posternhealth/postern/extract"

// links refuses ids and references of FHIR records that leave in forms which do
// not meet: a token leads to the record only whose id is a token.
func (c *checking) links() {
	forms := map[string]Transform{}
	c.eachField(func(path string, f *Field) {
		for _, l := range f.Leaves {
			of := "records"
			switch {
			case l.Class == extract.SubjectKey, l.Class == extract.Link && (f.Do == CodePerson || isPatient(l)):
				of = "patients"
			case l.Class != extract.RecordKey && l.Class != extract.Link:
				continue
			}
			was, met := forms[of]
			if coded := f.Do == Token || f.Do == Ordinal || was == Token || was == Ordinal; met && was != f.Do && coded {
				c.add(path+".do", "write do: "+string(was)+", as elsewhere", "ids of %s and references to them leave in two forms, so no reference leads to what it names", of)
				return
			}
			forms[of] = f.Do
		}
	})
}
