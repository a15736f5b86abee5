package consent

import (
	"context"
	"crypto/sha256"

	"github.com/posternhealth/postern/extract"
)

// Payor are the names by which the payor of a Coverage may be told, as Request
// has those of organizations.
type Payor struct{ Ours, Others []string }

// LoadCoverage makes a roster of the Coverages (FHIR R4 §13.1) in NDJSON files:
// the recipient's members are the beneficiaries of active ones that it pays for,
// in their period, under the number of type MB among their identifiers, or their
// subscriberId and dependent. A Coverage that is a draft, whose payor, status or
// period cannot be told, or that has a modifier, is perhaps one; cancelled or
// entered in error, it is none. A resource that cannot be read, or whose
// beneficiary cannot be told, is an *InputError.
func LoadCoverage(ctx context.Context, files []extract.File, payor Payor, people *People) (*Roster, error) {
	r := &Roster{columns: []string{"member_id"}}
	met := map[string]metCoverage{}
	in, err := readResources(ctx, files, "Coverage", func(file string, rec *extract.Record) error {
		if rec.Reject != extract.NoReason && rec.Reject != extract.NoSubject {
			return &InputError{file, int(rec.Place.Line), "a record of the coverage cannot be read (" + rec.Reject.String() + "); mend the file"}
		}
		if rec.Dataset != "Coverage" {
			return nil
		}
		root := node{raw: rec.Raw, doc: rec.Doc}
		kind, id := splitReference(string(rec.Resolve([]byte(root.member("beneficiary").member("reference").text()))))
		if kind != "Patient" || !isPlainID([]byte(id)) {
			return &InputError{file, int(rec.Place.Line), "a Coverage does not tell its patient; write the id of one Patient as Coverage.beneficiary.reference"}
		}
		row := readCoverage(root, payor)
		row.subject, row.cells, row.file, row.line = people.Intern([]byte(id)), uint64(len(r.values)), r.files.number(file), uint32(rec.Place.Line)
		key, sum := string(rec.Facts.ID), sha256.Sum256(rec.Raw)
		if before, again := met[key]; again && key != "" {
			if before.sum == sum {
				return nil
			}
			row.standing = mayCover // nobody can tell which of the two holds
			r.list[before.row].standing = mayCover
		}
		met[key] = metCoverage{len(r.list), sum}
		r.values = appendString(r.values, memberNumber(root))
		r.list = append(r.list, row)
		return nil
	})
	if r.Input = in; err != nil {
		return nil, err
	}
	r.settle()
	return r, nil
}

type metCoverage struct {
	row int
	sum [sha256.Size]byte
}

// readCoverage reads who pays, whether it holds, and when.
func readCoverage(root node, payor Payor) coverage {
	row := coverage{from: extract.NoDay, to: anyDayTo, standing: covers}
	doubt := func(s standing) { row.standing = min(row.standing, s) }
	switch root.member("status").text() {
	case "active":
	case "cancelled", "entered-in-error":
		doubt(noCover)
	default:
		doubt(mayCover)
	}
	switch paidBy(root.member("payor"), payor) {
	case no:
		doubt(noCover)
	case unsure:
		doubt(mayCover)
	}
	if !root.member("modifierExtension").absent() || !root.member("implicitRules").absent() {
		doubt(mayCover)
	}
	for name, v := range root.member("period").members {
		span, ok := extract.ParseSpan([]byte(v.text()))
		switch {
		case name == "start" && ok:
			row.from = span.From
		case name == "end" && ok:
			row.to = span.To
		case name != "id" && name != "extension":
			row.from, row.to = extract.NoDay, anyDayTo
			doubt(mayCover)
		}
	}
	if row.from == extract.NoDay || row.to < row.from { // R4 Period: the beginning is not known
		row.from = extract.NoDay
		doubt(mayCover)
	}
	return row
}

// paidBy tells whether the recipient is a payor.
func paidBy(list node, payor Payor) match {
	m, named := no, false
	for ref := range list.elements {
		named = true
		if value := referenceValue(ref); value == unclear {
			m = max(m, unsure)
		} else {
			m = max(m, sameReference(value[1:], payor.Ours, payor.Others))
		}
	}
	if !named {
		return unsure
	}
	return m
}

// memberNumber is the number that the payor has given this person: R4 says of
// Coverage.identifier that it may be subscriberId and dependent put together.
func memberNumber(root node) string {
	for id := range root.member("identifier").elements {
		for code := range id.member("type").codes {
			if code == "MB" {
				return id.member("value").text()
			}
		}
	}
	return root.member("subscriberId").text() + root.member("dependent").text()
}
