package build

import (
	"fmt"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
)

// Balance accounts for the source records of one dataset.
type Balance struct {
	Dataset      string           `json:"dataset"`
	Source       int64            `json:"source"`
	Dispositions map[string]int64 `json:"dispositions"`
	Reasons      map[string]int64 `json:"reasons,omitempty"` // by the counted reason

	counts  [extract.Dispositions]int64
	reasons [extract.Reasons]int64
}

// count notes the outcome of one record.
func (b *Balance) count(reason extract.Reason) { b.countAll(reason, 1) }

// countAll notes the one outcome of n records.
func (b *Balance) countAll(reason extract.Reason, n int64) {
	b.counts[reason.Disposition()] += n
	b.reasons[reason] += n
}

// Count is the number of records with a disposition.
func (b *Balance) Count(d extract.Disposition) int64 { return b.counts[d] }

// sheet is the balance of a run, per dataset in the order first met.
type sheet struct {
	datasets []*Balance
	byName   map[string]*Balance
	last     *Balance
}

func newSheet() *sheet { return &sheet{byName: map[string]*Balance{}} }

func (s *sheet) of(dataset string) *Balance {
	if s.last != nil && s.last.Dataset == dataset {
		return s.last
	}
	b := s.byName[dataset]
	if b == nil {
		b = &Balance{Dataset: dataset}
		s.byName[dataset] = b
		s.datasets = append(s.datasets, b)
	}
	s.last = b
	return b
}

// close fills the printable counts and checks the invariant: every source
// record that the index pass counted has exactly one disposition.
func (s *sheet) close() error {
	slices.SortFunc(s.datasets, func(a, b *Balance) int {
		if a.Dataset < b.Dataset {
			return -1
		}
		return 1
	})
	for _, b := range s.datasets {
		b.Dispositions, b.Reasons = map[string]int64{}, map[string]int64{}
		sum := int64(0)
		for d, n := range b.counts {
			b.Dispositions[extract.Disposition(d).String()] = n
			sum += n
		}
		for r, n := range b.reasons {
			if r > 0 && n > 0 {
				b.Reasons[extract.Reason(r).String()] = n
			}
		}
		if sum != b.Source {
			return failure.New(failure.Unbalanced, nil, "nothing was sent; please report this with the clinic's book",
				"dataset %s does not balance: %d records in the source, %d accounted for", b.Dataset, b.Source, sum)
		}
	}
	return nil
}

// total sums a disposition over all datasets.
func (s *sheet) total(d extract.Disposition) int64 {
	var n int64
	for _, b := range s.datasets {
		n += b.counts[d]
	}
	return n
}

// source sums the source records of all datasets.
func (s *sheet) source() int64 {
	var n int64
	for _, b := range s.datasets {
		n += b.Source
	}
	return n
}

// Rejection is where a record stands that could not be used, and why. It
// holds no value of the record.
type Rejection struct {
	Place   string `json:"place"` // file:line, and the entry of a Bundle
	Dataset string `json:"dataset"`
	Reason  string `json:"reason"`
	Detail  string `json:"detail,omitempty"`
}

func (r Rejection) String() string {
	if r.Detail == "" {
		return r.Place + ": " + r.Reason
	}
	return r.Place + ": " + r.Reason + ": " + r.Detail
}

// Places that are shown; the clinic's book of a drop has them all.
const (
	keptRejections = 100
	toldRejections = 5
)

// tolerate refuses a run in which more records were rejected than the policy
// tolerates, and tells where the first of them stand.
func (s *sheet) tolerate(share float64, first []Rejection) error {
	rejected, source := s.total(extract.Rejected), s.source()
	if source == 0 || float64(rejected) <= share*float64(source) {
		return nil
	}
	text := fmt.Sprintf("%d of %d records were rejected, more than the %.4g%% that the policy tolerates; nothing was sent; mend the extract, or have the policy's `tolerate` changed:", rejected, source, share*100)
	for _, r := range first[:min(len(first), toldRejections)] {
		text += "\n  " + r.String()
	}
	return failure.New(failure.Unbalanced, nil, "", "%s", text)
}
