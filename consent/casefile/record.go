package casefile

import (
	"bytes"
	"encoding/json"
	"errors"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// record is one record of a case, or what a decision needs of it.
type record struct {
	ID          string          `yaml:"id,required" json:"id"`
	Dataset     string          `yaml:"dataset" json:"dataset"`
	Subject     string          `yaml:"subject" json:"subject"`
	Subjects    []string        `yaml:"subjects" json:"subjects"`
	Date        string          `yaml:"date" json:"date"`
	Encounter   string          `yaml:"encounter" json:"encounter"`
	Providers   []string        `yaml:"providers" json:"providers"`
	Codes       []string        `yaml:"codes" json:"codes"`
	Labels      []string        `yaml:"labels" json:"labels"`
	Status      string          `yaml:"status" json:"status"`
	DerivedFrom []string        `yaml:"derived_from" json:"-"`
	Data        strictyaml.Node `yaml:"data" json:"-"`
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

// ReadRecord reads one line of JSON into rec: a FHIR resource, or a record as
// cases have it, without data and derived_from. What cannot be used of a
// resource is in rec.Reject; an error is a line that is neither.
func ReadRecord(line []byte, scanner *extract.Scanner, rec *extract.Record) error {
	if bytes.Contains(line, []byte(`"resourceType"`)) {
		scanner.Resource(line, rec)
		return nil
	}
	var r record
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if decoder.Decode(&r) != nil || decoder.More() { // whose message may hold a value
		return errors.New("it is no record: not JSON, or with a key or value that a record does not have")
	}
	*rec = extract.Record{}
	rec.Facts, rec.Reject = r.facts()
	rec.Dataset = rec.Facts.Dataset
	return nil
}
