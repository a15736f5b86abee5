package build

import (
	"maps"
	"slices"
	"strings"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// ClinicBookForm names the form of the summary.
const ClinicBookForm = "clinic-book/v1"

// ClinicBook is the summary of the clinic's book: what a run read, decided, did
// to each path and released, and on what it stood. It stays at the clinic. It
// holds counts, names of the policy and of tables, digests and fingerprints;
// no value and no member name of a record, and no key. docs/clinic-book.md
// describes it.
type ClinicBook struct {
	Form    string   `json:"postern"`
	Outcome *Outcome `json:"outcome"` // its balances stand under Datasets
	Policy  Basis    `json:"policy"`
	Account
	Sources  []Digest      `json:"source"`
	Tables   []Digest      `json:"tables"`
	Datasets []DatasetBook `json:"datasets"`       // met in the source, by name
	Gate     *GateBook     `json:"gate,omitempty"` // nil of a dry run, which seals nothing
}

// Account is what the clinic's book tells that the run itself does not know.
type Account struct {
	Closure string         `json:"closure_sha256"` // of all that approvers sign
	Applies policies.Steps `json:"applies"`        // the steps that bind this disclosure
	Inputs  []Input        `json:"inputs"`
	Keys    Keys           `json:"keys"`
}

// Digest names something that the run used, and its exact bytes.
type Digest struct {
	Name    string `json:"name"`
	Version string `json:"version,omitempty"`
	SHA256  string `json:"sha256"` // hex
}

// Input is one protective input or table as it was read.
type Input struct {
	Digest
	Kind string `json:"kind"`
	Rows int    `json:"rows"`
}

// Keys names keys: none can be had from it.
type Keys struct {
	Epoch      string            `json:"epoch"`             // from which codes, tokens and shifts derive
	Signing    string            `json:"signing"`           // SHA-256 fingerprint, as ssh-keygen -l has it
	Archive    string            `json:"archive"`           // transfer.Fingerprint
	Recipients []string          `json:"recipients"`        // as the manifest has them
	Sealing    *transfer.Sealing `json:"sealing,omitempty"` // of the drop; nil of a plan
}

// Basis is the policy with its texts, sets and layout, and the schemas.
type Basis struct {
	Name     string            `json:"name"`
	Version  int               `json:"version"`
	Standard policies.Standard `json:"standard"`
	Purpose  string            `json:"purpose"`
	Basis    string            `json:"basis"`  // in law
	SHA256   string            `json:"sha256"` // as the manifest has it
	Files    []Digest          `json:"files"`
}

// DatasetBook accounts for the records of one dataset.
type DatasetBook struct {
	*Balance
	Why   []Why      `json:"why,omitempty"`   // in decision order
	Paths []PathBook `json:"paths,omitempty"` // of the released records, in plan order
	SealedRows
}

// SealedRows is what the seal pass did to the rows of one dataset.
type SealedRows struct {
	ReferencesCut int64        `json:"references_cut"` // they would have pointed out of the drop
	Judged        *gate.Counts `json:"judged,omitempty"`
}

// Why is a reason for which records did not leave: the first of each record in
// decision order.
type Why struct {
	Reason      string `json:"reason"`
	Disposition string `json:"disposition"`
	Records     int64  `json:"records"`
	Says        string `json:"says"` // the reason in plain words, a sentence
	Law         string `json:"law,omitempty"`
}

// PathBook is what was done at one path of the records that were released:
// Met values stood there, Left of them left. What is left out counts once,
// however much is below it.
type PathBook struct {
	Path string `json:"path"`
	Done string `json:"done"`
	Met  uint64 `json:"met"`
	Left uint64 `json:"left"`
}

// What is done at a path, where it is no transform of the policy.
const (
	NotReleased = "not released" // known, and the policy does not name it
	Unknown     = "unknown"      // in no table: whatever has a name that FHIR does not have there, or an extension of another URL
	Extended    = "extension of a primitive"
	OtherForm   = "not of its form" // an object or a list where FHIR has none, or the other way round
)

// GateBook is what the gate found. A drop exists only if nothing was found that
// nobody has excepted.
type GateBook struct {
	gate.Counts
	Hits     int64  `json:"hits"`     // rows
	Excepted int64  `json:"excepted"` // of them
	Where    []Hits `json:"where,omitempty"`
}

// ClinicBook is the account of what the run has done so far.
func (r *Run) ClinicBook() *ClinicBook {
	outcome := *r.Outcome()
	outcome.Balances = nil
	book := &ClinicBook{Form: ClinicBookForm, Outcome: &outcome, Account: r.Account, Policy: r.basis(), Tables: []Digest{
		{"FHIR element definitions", "R4 (4.0.1)", extract.ElementsSHA256()},
		{"population by three digits of the ZIP code", deid.ZIP3Vintages, deid.ZIP3SHA256()},
	}}
	for _, s := range r.index.sums {
		book.Sources = append(book.Sources, Digest{Name: s.Name, SHA256: s.SHA256})
	}
	for _, balance := range r.sheet.datasets {
		d := DatasetBook{Balance: balance, Why: r.why(balance), Paths: r.pathsOf(balance.Dataset)}
		if sealed := r.sealed[balance.Dataset]; sealed != nil {
			d.SealedRows = *sealed
		}
		book.Datasets = append(book.Datasets, d)
	}
	if r.Drop != nil {
		book.Gate = &GateBook{Hits: r.held.rows, Excepted: r.held.rows, Where: r.held.found()}
		for _, s := range r.sealed {
			book.Gate.Add(*s.Judged)
		}
	}
	return book
}

func (r *Run) basis() Basis {
	b := Basis{Name: r.Policy.Name, Version: r.Policy.Version, Standard: r.Policy.Standard, Purpose: r.Policy.Purpose, Basis: r.Policy.Basis, SHA256: r.Policy.Digest()}
	for _, f := range r.Policy.Includes() {
		b.Files = append(b.Files, Digest{Name: f.Name, SHA256: f.SHA256})
	}
	for _, name := range slices.Sorted(maps.Keys(r.Schemas)) {
		b.Files = append(b.Files, Digest{Name: "schema of " + name, SHA256: r.Schemas[name].SHA256})
	}
	return b
}

func (r *Run) why(b *Balance) (list []Why) {
	for reason, n := range b.reasons {
		if reason := extract.Reason(reason); n > 0 && reason != extract.NoReason {
			c := r.Decider.Claim(reason)
			list = append(list, Why{reason.String(), reason.Disposition().String(), n, c.Says, c.Law})
		}
	}
	return list
}

// pathsOf tells what was done to a dataset, by the policy's own words. Paths
// that nothing was met at are told only if the policy releases them.
func (r *Run) pathsOf(dataset string) (list []PathBook) {
	release := r.releaseOf(dataset)
	if release == nil {
		return nil
	}
	done := map[string]string{}
	for i := range release.Fields {
		f := &release.Fields[i]
		if len(f.Leaves) == 0 {
			does := string(f.Do)
			if f.Do == policies.Keep && f.From != f.Name { // it is no value of its own name, and maybe none of the record
				does = "from " + f.From
			}
			done[dataset+"."+f.Name] = does
		}
		for _, leaf := range f.Leaves {
			if !r.writtenByEngine(release, f, &leaf) {
				done[gate.Path(append([]string{dataset}, leaf.Path...)...)] = string(f.Do)
			}
		}
	}
	for _, c := range r.counts[dataset] {
		do, released := done[c.Path]
		switch delete(done, c.Path); { // a column of that name, from which another field is taken, comes later
		case released:
		case c.In == 0:
			continue
		default:
			do = notTransformed(c.Path, done)
		}
		list = append(list, PathBook{c.Path, do, c.In, c.Out})
	}
	return list
}

func notTransformed(path string, released map[string]string) string {
	switch {
	case strings.HasSuffix(path, "(unknown)"):
		return Unknown
	case strings.HasSuffix(path, "(primitive extension)"):
		return Extended
	}
	for other := range released {
		if rest, below := strings.CutPrefix(other, path); below && (rest[0] == '.' || rest[0] == '(') {
			return OtherForm
		}
	}
	return NotReleased
}

// sealedRows is where the seal pass counts what it does to a dataset.
func (r *Run) sealedRows(dataset string) *SealedRows {
	if r.sealed[dataset] == nil {
		r.sealed[dataset] = &SealedRows{Judged: new(gate.Counts)}
	}
	return r.sealed[dataset]
}
