package casefile

import (
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// record is one record of a case, or what a decision needs of it.
type record struct {
	ID          string          `yaml:"id,required"`
	Dataset     string          `yaml:"dataset"`
	Subject     string          `yaml:"subject"`
	Subjects    []string        `yaml:"subjects"`
	Date        string          `yaml:"date"`
	Encounter   string          `yaml:"encounter"`
	Providers   []string        `yaml:"providers"`
	Codes       []string        `yaml:"codes"`
	Labels      []string        `yaml:"labels"`
	Status      string          `yaml:"status"`
	DerivedFrom []string        `yaml:"derived_from"`
	Data        strictyaml.Node `yaml:"data"`
}

// facts are what a decision needs of the record, or why it is rejected.
func (r *record) facts() (extract.Facts, extract.Reason) {
	if r.Data.IsMap() {
		var rec extract.Record
		extract.NewScanner().Resource(r.Data.AppendJSON(nil), &rec)
		return rec.Facts, rec.Reject
	}
	f := extract.Facts{Dataset: r.Dataset, ID: phi.Bytes(r.ID), Subjects: bytesOf(r.Subjects), Date: extract.NoSpan, Encounter: phi.Bytes(r.Encounter),
		Providers: bytesOf(r.Providers), Codes: bytesOf(r.Codes), Labels: bytesOf(r.Labels), Status: phi.Bytes(r.Status)}
	if f.Dataset == "" {
		f.Dataset = "Observation"
	}
	if r.Subject != "" {
		f.Subjects = append(f.Subjects, phi.Bytes(r.Subject))
	}
	if r.Date != "" {
		f.Date, _ = extract.ParseSpan([]byte(r.Date))
	}
	return f, extract.NoReason
}

func bytesOf(list []string) (l []phi.Bytes) {
	for _, v := range list {
		l = append(l, phi.Bytes(v))
	}
	return l
}
