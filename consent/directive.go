package consent

import (
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// Directives are what patients have decided, as far as the clinic's consent
// sources tell, in a model of our own (version 1): a directive is a header and
// a tree of provisions. A tree is kept once however many directives say the same,
// and so is whom and what a provision names: a directive takes 70 bytes, and
// where no other says the same 50 more and 40 for each of its provisions. It is
// filled by the loaders and then only read.
type Directives struct {
	people     *People
	heads      heads // the newest directive of each subject
	list       []directive
	sources    []source // of each directive: what decisions do not look at
	trees      []tree   // the first is empty: it cannot be read
	provisions []provision
	files      files

	seed  maphash.Seed
	known map[uint64]uint32 // trees by the hash of their provisions
	who   interned[who]
	what  interned[what]
	forms interned[forms]

	mending mending         // of registries
	servers extract.Servers // addresses of the clinic's own
}

// NewDirectives gives an empty set of directives about these people.
func NewDirectives(people *People) *Directives {
	return &Directives{people: people, trees: make([]tree, 1), seed: maphash.MakeSeed(), known: map[uint64]uint32{}, mending: mending{
		list: registryList, required: registryRequired, optional: registryOptional, people: people,
		names: func(c *cells) []nameCell { _, by := registryRow(c); return by }}}
}

// Len is the number of directives, restored ones included.
func (d *Directives) Len() int { return len(d.list) }

// directive is the header of one directive: 24 bytes, so that a decision
// touches one line of memory for it.
type directive struct {
	next   uint32      // 1 + the next directive of the same subject
	tree   uint32      // index into trees
	form   uint32      // index into forms; of a registry's row that cannot be understood, of why
	signed extract.Day // NoDay when it does not say
	ended  extract.Day // explicit end of a denial, NoDay when none
	status status
	scope  scope
	signer signer
}

// source is where a directive came from.
type source struct {
	subject  Subject
	line     uint32
	file     uint16 // index into files
	origin   origin
	earlier  bool // it stood there at an earlier reading, and vanished
	identity identity
}

// unreadable directives make their patient indeterminate in every exchange
// that asks for consent.
func (d *directive) unreadable() bool { return d.tree == 0 }

// tree is what one directive or many say: provisions in pre-order.
type tree struct {
	first uint32 // its root, in provisions
	count uint16
}

// origin is the kind of source a directive came from.
type origin uint8

const (
	fromRegistry origin = iota
	fromFHIR
)

// status is where a directive stands in its life.
type status uint8

const (
	active  status = iota
	pending        // drafted or proposed: nobody has decided yet
	revoked
	expired
	refused // what was proposed, the patient declined
	inError // entered in error: it never was
)

// scope is what a directive is about.
type scope uint8

const (
	general scope = iota
	part2         // 42 CFR 2.31
	registryOptOut
	stateLaw
	research
	otherMatters // advance directives, consent to treatment: nothing about disclosure
	treatment    // who consented to which care: a row of a registry, asked about minors alone
)

// effect is what a provision says when it matches.
type effect uint8

const (
	permit effect = iota
	deny
)

// provision is one node of a directive's tree. Provisions stand in pre-order:
// the children of provision i are i+1 … next-1.
type provision struct {
	from, to         int64 // provision.period, seconds: from inclusive, to exclusive
	dataFrom, dataTo extract.Day
	who, what        uint32
	next             uint16 // relative to the directive's root
	effect           effect
	flags            flags
}

// everyDay tells whether the day on which data were made matters nothing.
func (p *provision) everyDay() bool {
	return p.dataFrom == extract.NoDay && p.dataTo == anyDayTo && p.flags&dataUnclear == 0
}

// flags say how the limits of a provision are to be read.
type flags uint8

const (
	fromInstant   flags = 1 << iota // from is a Unix time; otherwise a civil time of the place of decision
	toInstant                       // the same of to
	periodUnclear                   // the period cannot be read
	dataFromTimed                   // dataFrom has a time of day: the days around it are unclear
	dataToTimed
	dataUnclear
)

const (
	anytimeFrom = math.MinInt64
	anytimeTo   = math.MaxInt64
	anyDayTo    = extract.Day(math.MaxInt32)
)

// unlimited is a provision without criteria.
func unlimited(e effect) provision {
	return provision{from: anytimeFrom, to: anytimeTo, dataFrom: extract.NoDay, dataTo: anyDayTo, effect: e}
}

// who are the criteria of a provision that a request settles once for all
// records: each empty one does not restrict, the values of one are ORed.
type who struct {
	recipients, custodians, purposes []string
	action                           match
}

// what are the criteria that each record settles.
type what struct{ labels, classes, codes, data []string }

// everything tells whether the criteria restrict nothing.
func (w *what) everything() bool {
	return len(w.labels)+len(w.classes)+len(w.codes)+len(w.data) == 0
}

// forms are the names by which a directive says which form was signed.
type forms struct{ names []string }

// interned keeps equal values once, under a number.
type interned[T any] struct {
	values []T
	index  map[string]uint32
}

func (in *interned[T]) intern(key []byte, v T) uint32 {
	if in.index == nil {
		in.index = map[string]uint32{}
	}
	if n, ok := in.index[string(key)]; ok {
		return n
	}
	n := uint32(len(in.values))
	in.values, in.index[string(key)] = append(in.values, v), n
	return n
}

// match is three-valued: AND is min, OR is max.
type match uint8

const (
	no match = iota
	unsure
	yes
)

// draft is a directive on its way into Directives.
type draft struct {
	directive
	source
	provisions []provision
	whos       []who
	whats      []what
	forms      forms
	others     int // of one in doubt: mending.others
}

// maxDirectives bounds how many directives one patient may have: all of them
// are looked at for each record, and where one id names two of them.
const maxDirectives = 4096

// add takes a draft in. Of two directives of one patient and one identity that
// say different things, nobody can tell which holds: the patient becomes
// indeterminate. A registry row has no id of its own, so there both simply hold.
func (d *Directives) add(n *draft) error {
	n.tree = d.plant(n)
	n.form = d.forms.intern(appendStrings(nil, n.forms.names), n.forms)
	same, met := d.find(n.subject, n.identity)
	if met >= maxDirectives {
		return &InputError{d.files[n.file], int(n.line), fmt.Sprintf("one patient has more than %d directives", maxDirectives)}
	}
	if same != nil && n.origin == fromFHIR && !n.earlier {
		if equal(same, &n.directive) {
			return nil
		}
		n.tree = 0
	}
	n.next = d.heads.of(n.subject)
	d.list, d.sources = append(d.list, n.directive), append(d.sources, n.source)
	d.heads.set(n.subject, uint32(len(d.list)))
	return nil
}

// plant gives the number of the tree that a draft's provisions make. Two that
// differ and have one hash are kept apart; the older is then not found again.
func (d *Directives) plant(n *draft) uint32 {
	first := uint32(len(d.provisions))
	var h maphash.Hash
	h.SetSeed(d.seed)
	for i, p := range n.provisions {
		p.who = d.who.intern(appendWho(nil, &n.whos[i]), n.whos[i])
		p.what = d.what.intern(appendWhat(nil, &n.whats[i]), n.whats[i])
		d.provisions = append(d.provisions, p)
		maphash.WriteComparable(&h, p)
	}
	if same, met := d.known[h.Sum64()]; met && slices.Equal(d.at(same), d.provisions[first:]) || len(n.provisions) == 0 {
		d.provisions = d.provisions[:first]
		return same
	}
	d.trees = append(d.trees, tree{first, uint16(len(n.provisions))})
	d.known[h.Sum64()] = uint32(len(d.trees) - 1)
	return uint32(len(d.trees) - 1)
}

// find looks for a directive of a subject by its identity and counts how many
// of the subject's it met.
func (d *Directives) find(s Subject, id identity) (found *directive, met int) {
	for i := d.head(s); i != 0; i = d.list[i-1].next {
		met++
		if d.sources[i-1].identity == id {
			found = &d.list[i-1]
		}
	}
	return found, met
}

// equal tells whether two directives of one identity say the same.
func equal(a, b *directive) bool {
	return a.status == b.status && a.scope == b.scope && a.signer == b.signer && a.form == b.form && a.signed == b.signed && a.ended == b.ended && a.tree == b.tree
}

// tree gives the provisions of a directive in pre-order.
func (d *Directives) tree(n *directive) []provision { return d.at(n.tree) }

// at gives the provisions of a tree.
func (d *Directives) at(number uint32) []provision {
	t := &d.trees[number]
	return d.provisions[t.first:][:t.count]
}

// Place tells where directive n (as Decision.Relied gives it) stood.
func (d *Directives) Place(n int) (file string, line int) {
	return d.files[d.sources[n].file], int(d.sources[n].line)
}

// head is the first directive of a subject, 1-based, 0 for none.
func (d *Directives) head(s Subject) uint32 { return d.heads.of(s) }

// lastSegment is what stands after the last slash or bar: the form's own name
// in a URL, the value in system|value.
func lastSegment(s string) string { return s[strings.LastIndexAny(s, "/|")+1:] }
