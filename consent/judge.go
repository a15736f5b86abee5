package consent

import (
	"bytes"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// outcome is what a provision, with those nested in it, says about a record.
// The order is that of how much it closes.
type outcome uint8

const (
	permits       outcome = iota
	silent                // it does not match
	deniesPerhaps         // it denies, if a criterion matches that cannot be evaluated
	denies
)

// verdict is what a tree of provisions says of a record.
type verdict struct {
	said    outcome
	root    effect
	lapsed  bool // a permit would have matched, but its period is over
	unclear bool // a permit may match, but a criterion cannot be evaluated
}

// plan stands for all trees that bear alike on the request.
type plan struct {
	tree uint32
	asks bool // what it says depends on the record
	verdict
}

// says is what a directive says about a record. Where what it permits is over,
// its exceptions that permit are none.
func (d *Decider) says(n *directive, f *extract.Facts, over bool) verdict {
	p := &d.plans[d.planned[n.tree]]
	if p.asks || over {
		return d.judge(p.tree, f, over)
	}
	return p.verdict
}

// judge goes through a tree for one record.
func (d *Decider) judge(number uint32, f *extract.Facts, over bool) verdict {
	ds := d.tables.Directives
	t := &ds.trees[number]
	j := judgement{d: d, f: f, tree: ds.at(number), bears: d.bears[t.first:][:t.count], over: over}
	j.root = j.tree[0].effect
	j.said = j.of(0)
	return j.verdict
}

// judgement goes through one tree for one record.
type judgement struct {
	d     *Decider
	f     *extract.Facts
	tree  []provision
	bears []bearing
	over  bool // what it permits is over, so its exceptions that permit are none
	verdict
}

// of judges provision i. A rule says its effect where all its criteria match,
// unless a provision nested in it matches too: those are its exceptions, and
// among them deny beats permit. Where the match cannot be evaluated, both
// answers are possible, and the one that closes more is taken: a deny counts,
// a permit does not.
func (j *judgement) of(i uint16) outcome {
	p := &j.tree[i]
	m := j.matches(p, j.bears[i])
	if m == no {
		return silent
	}
	exception, denied := false, permits
	for child := i + 1; child < p.next; child = j.tree[child].next {
		switch o := j.of(child); o {
		case permits:
			exception = !j.over
		case deniesPerhaps, denies:
			denied = max(denied, o)
		}
	}
	said := permits
	if p.effect == deny && !exception {
		said = denies
	}
	said = max(said, denied)
	switch {
	case m == yes:
		return said
	case said == permits:
		j.unclear = true
		return silent
	}
	return deniesPerhaps
}

// matches tells whether all criteria of a provision match.
func (j *judgement) matches(p *provision, b bearing) match {
	if b == apart {
		return no
	}
	m := min(j.ofData(p), j.what(p))
	if b == lapsed {
		j.lapsed = j.lapsed || m == yes
		return no
	}
	return min(m, match(b))
}

// zoneSlack is how many days around a limit with a time of day are unclear: the
// record's date is a civil one, of a zone that it does not say, and the limit's
// zone may be another.
const zoneSlack = 2

// ofData tells whether the record was made within provision.dataPeriod.
func (j *judgement) ofData(p *provision) match {
	if p.flags&dataUnclear != 0 {
		return unsure
	}
	if p.everyDay() {
		return yes
	}
	inner, outer := extract.Span{From: p.dataFrom, To: p.dataTo}, extract.Span{From: p.dataFrom, To: p.dataTo}
	if p.flags&dataFromTimed != 0 {
		inner.From += zoneSlack
		outer.From -= zoneSlack
	}
	if p.flags&dataToTimed != 0 {
		inner.To -= zoneSlack
		outer.To += zoneSlack
	}
	if within(j.f.Date, outer.From, outer.To) == no {
		return no
	}
	if within(j.f.Date, inner.From, inner.To) == yes {
		return yes
	}
	return unsure
}

// what tells whether a record is what a provision names.
func (j *judgement) what(p *provision) match {
	w := &j.d.tables.Directives.what.values[p.what]
	m := yes
	if len(w.labels) > 0 {
		m = min(m, j.labels(w.labels, p.effect))
	}
	if len(w.classes) > 0 {
		m = min(m, classes(w.classes, j.f))
	}
	if len(w.codes) > 0 {
		m = min(m, codes(w.codes, j.f))
	}
	if len(w.data) > 0 {
		m = min(m, data(w.data, j.f))
	}
	return m
}

// labels compares security labels. Confidentiality is a high-water mark: a deny
// of R denies V too, a permit of R permits N too.
func (j *judgement) labels(rule []string, e effect) match {
	m, sensitive, rank := no, j.d.request.LabelsComplete, 0
	for _, label := range j.f.Labels {
		label = inCapitals(label)
		rank, sensitive = max(rank, confidentialityRank(string(label))), sensitive || isSensitivity(string(label))
		for _, want := range rule {
			if confidentialityRank(want) == 0 {
				m = max(m, sensitivity(label, want))
			}
		}
	}
	for _, want := range rule {
		switch w := confidentialityRank(want); {
		case want == unclear:
			m = max(m, unsure)
		case w > 0:
			m = max(m, confidential(rank, w, e))
		case j.d.request.Classifier != nil:
			m = max(m, j.d.request.Classifier.says(j.f, want))
		case !sensitive:
			m = max(m, unsure)
		}
	}
	return m
}

// inCapitals is a label as HL7 writes it, however the record does.
func inCapitals(label phi.Bytes) phi.Bytes {
	if isLabel(label, "42CFRPart2") {
		return part2Label
	}
	for _, c := range label {
		if c <= ' ' || 'a' <= c && c <= 'z' {
			return bytes.ToUpper(bytes.TrimSpace(label))
		}
	}
	return label
}

func confidential(rank, rule int, e effect) match {
	switch {
	case rank == 0:
		return unsure
	case e == deny && rank >= rule, e == permit && rank <= rule:
		return yes
	}
	return no
}

var part2Label, substanceUse = phi.Bytes("42CFRPart2"), phi.Bytes("SUD")

// sensitivity compares one label: the rule's own or one below it matches, one
// above it may.
func sensitivity(label phi.Bytes, want string) match {
	if string(label) == "42CFRPart2" && want != "42CFRPart2" {
		label = substanceUse // it says that much, and not which
	}
	switch {
	case string(label) == want, isBelow(string(label), want):
		return yes
	case isBelow(want, string(label)):
		return unsure
	}
	return no
}

// classes compares resource types. Rows of delimited datasets and classes of
// other sorts (profiles, document types) cannot be compared.
func classes(rule []string, f *extract.Facts) match {
	m := no
	for _, want := range rule {
		switch {
		case want == f.Dataset:
			return yes
		case strings.HasPrefix(want, unclear), extract.TypeOf(f.Dataset) == nil:
			m = unsure
		}
	}
	return m
}

// codes compares codes as written; an ICD-10 category stands for the codes
// below it. A record without a code cannot be compared, nor can one whose main
// code says what kind of transaction it is, nor a code that differs by capitals
// or by the point that claims leave out.
func codes(rule []string, f *extract.Facts) match {
	m := no
	if len(f.Codes) == 0 || slices.Contains(transactions, f.Dataset) {
		m = unsure
	}
	for _, want := range rule {
		if want == unclear {
			m = max(m, unsure)
		}
		for _, code := range f.Codes {
			if string(code) == want || len(code) > len(want) && code[len(want)] == '.' && string(code[:len(want)]) == want {
				return yes
			}
			if alike(want, code) {
				m = unsure
			}
		}
	}
	return m
}

// transactions are the resource types whose main code tells nothing of the
// services and diagnoses that they are about.
var transactions = []string{"Account", "Claim", "ClaimResponse", "Encounter", "EpisodeOfCare", "ExplanationOfBenefit", "Invoice"}

// alike tells whether a code may be the one that is wanted, or one below it,
// but for capitals and points. In ICD-10 a category has three characters, and
// what is below it follows a point.
func alike(want string, code phi.Bytes) bool {
	var room [2][64]byte // a longer code is made elsewhere
	w, c := appendBare(room[0][:0], want), appendBare(room[1][:0], code)
	category := len(want) == 3 && want[0] > '9' && want[1] <= '9' || len(want) > 3 && want[3] == '.'
	return bytes.Equal(c, w) || category && bytes.HasPrefix(c, w)
}

// data compares references: the very resource always matches; what refers to it
// (d:) can be told for an encounter alone, what it refers to (r:) cannot.
func data(rule []string, f *extract.Facts) match {
	m := no
	for _, want := range rule {
		sort, ref, ok := strings.Cut(want, ":")
		kind, id, _ := strings.Cut(ref, "/")
		switch {
		case !ok || f.Dataset == "" || len(f.ID) == 0:
			m = max(m, unsure)
		case kind == f.Dataset && id == string(f.ID), sort == "d" && kind == "Encounter" && id == string(f.Encounter):
			return yes
		case sort != "i":
			m = max(m, unsure)
		}
	}
	return m
}
