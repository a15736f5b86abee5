package consent

// Doubt is a row or resource of a protective input that keeps records back until
// somebody has mended it: it could not be understood, or cannot be told apart
// from another. It holds no value of it.
type Doubt struct {
	File    string `json:"file"`
	Line    int    `json:"line"`
	Earlier bool   `json:"earlier,omitempty"` // it stood there at an earlier reading, and is gone without having been mended
	Why     string `json:"why"`
}

// Doubts are the directives that could not be understood, in the order of loading.
func (d *Directives) Doubts() (list []Doubt) {
	for i := range d.list {
		if n, from := &d.list[i], &d.sources[i]; n.unreadable() {
			why := "the Consent cannot be understood, has the id of another one of this patient, or names the patient by the address of a server that is not known as the clinic's own"
			if from.origin == fromRegistry {
				why = d.forms.values[n.form].names[0]
			}
			list = append(list, Doubt{d.files[from.file], int(from.line), from.earlier, why})
		}
	}
	return list
}

// Doubts are the restrictions that could not be understood, in the order of loading.
func (rs *Restrictions) Doubts() (list []Doubt) {
	for i := range rs.list {
		if r := &rs.list[i]; len(r.why) > 0 {
			list = append(list, Doubt{rs.files[r.file], int(r.line), r.earlier, r.why[0]})
		}
	}
	return list
}
