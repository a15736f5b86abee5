package consent

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// identity names a row of a protective input across readings of it: what a
// row restricts, not how it ends.
type identity [16]byte

// identify makes an identity of the parts that name a row.
func identify(parts ...string) (id identity) {
	sum := sha256.Sum256(appendStrings(nil, parts))
	copy(id[:], sum[:])
	return id
}

// ClosingRow is something that closes: a denial, a revocation, an unreadable
// directive, a restriction or a program. It outlives the row it came from: the
// agent keeps it encrypted and gives it to Restore before the next decision,
// so that a row that vanished opens nothing. A row of the same key in the
// current input takes its place, and ends it if it says that it has ended; a
// directive that was only written over stays beside it.
type ClosingRow struct {
	Key  [16]byte
	Data phi.Bytes // opaque, with a version of its own
}

const closingVersion = 1

var errClosing = errors.New("a kept denial, restriction or program cannot be read: the state was altered, or written by a newer postern")

// Closing gives what must outlive its row, once Restore has settled what does.
// The order is that of loading.
func (d *Directives) Closing() []ClosingRow {
	var rows []ClosingRow
	for i := range d.list {
		if n := &d.list[i]; d.closes(n) {
			rows = append(rows, ClosingRow{d.sources[i].identity, d.encode(n, &d.sources[i])})
		}
	}
	return rows
}

// closes tells whether a directive can keep a record back: one that was
// entered in error or is explicitly ended cannot, a permit in force cannot.
func (d *Directives) closes(n *directive) bool {
	switch {
	case n.unreadable():
		return true
	case n.status == inError || n.scope == otherMatters:
		return false
	case n.scope == treatment:
		return d.consentsToCare(n) && n.signer != byGuardian && n.ended == extract.NoDay
	case n.status == revoked || n.status == refused:
		return n.ended == extract.NoDay || d.tree(n)[0].effect == permit
	}
	for _, p := range d.tree(n) {
		if p.effect == deny {
			return true
		}
	}
	return false
}

// Restore takes in what an earlier reading held and this one does not. It must
// come when everything has been loaded.
func (d *Directives) Restore(rows []ClosingRow) error {
	var gone []*draft
	kept, doubts := map[identity]int{}, d.inDoubt()
	for _, row := range rows {
		n, err := d.decode(row)
		if err != nil {
			return err
		}
		if n.tree = d.plant(n); !d.replaced(n) {
			n.earlier = true
			gone = append(gone, n)
		}
		if len(n.provisions) == 0 && n.origin == fromRegistry {
			kept[row.Key] = n.others
			doubts = append(doubts, inDoubt{n.subject, row.Key, n.forms.names})
		}
	}
	mended, err := d.mending.settle(kept, doubts)
	if err != nil {
		return err
	}
	for _, n := range gone {
		if _, doubt := kept[n.identity]; doubt && mended(n.identity) {
			continue
		}
		if err := d.add(n); err != nil {
			return err
		}
	}
	return nil
}

// replaced tells whether a directive of this reading stands in the place of one
// that was kept.
func (d *Directives) replaced(n *draft) bool {
	for i := d.head(n.subject); i != 0; i = d.list[i-1].next {
		if d.sources[i-1].identity == n.identity && !d.writtenOver(n, &d.list[i-1]) {
			return true
		}
	}
	return false
}

// writtenOver tells whether one that closes was only written over by another:
// what was taken back or denied is opened by its own last day or a newer
// signature, never by a status, or by other words under the id of the Consent.
func (d *Directives) writtenOver(kept *draft, now *directive) bool {
	takenBack := func(s status) bool { return s == revoked || s == refused }
	denies := slices.ContainsFunc(kept.provisions, func(p provision) bool { return p.effect == deny })
	switch {
	case len(kept.provisions) == 0, kept.status == pending, !denies && !takenBack(kept.status),
		now.status == inError, kept.signed != extract.NoDay && now.signed > kept.signed:
		return false
	}
	same := slices.EqualFunc(d.at(kept.tree), d.tree(now), func(a, b provision) bool {
		a.to, b.to, a.flags, b.flags = 0, 0, a.flags&^toInstant, b.flags&^toInstant
		return a == b
	})
	return !same || kept.scope != now.scope || takenBack(kept.status) && !takenBack(now.status)
}

// inDoubt gives the rows of registries that could not be understood.
func (d *Directives) inDoubt() (list []inDoubt) {
	for i := range d.list {
		if from := &d.sources[i]; d.list[i].unreadable() && from.origin == fromRegistry {
			list = append(list, inDoubt{from.subject, from.identity, d.forms.values[d.list[i].form].names})
		}
	}
	return list
}

func (d *Directives) encode(n *directive, from *source) []byte {
	b := append([]byte(nil), closingVersion, byte(from.origin), byte(n.status), byte(n.scope)|byte(n.signer)<<4)
	b = appendString(b, d.people.ID(from.subject))
	b = appendString(b, d.files[from.file])
	b = binary.AppendUvarint(b, uint64(from.line))
	b = binary.AppendVarint(b, int64(n.signed))
	b = binary.AppendVarint(b, int64(n.ended))
	b = appendStrings(b, d.forms.values[n.form].names)
	provisions := d.tree(n)
	b = binary.AppendUvarint(b, uint64(len(provisions)))
	if n.unreadable() {
		b = binary.AppendUvarint(b, uint64(d.mending.others[from.identity]))
	}
	for _, p := range provisions {
		b = append(b, byte(p.effect), byte(p.flags))
		b = binary.AppendVarint(b, p.from)
		b = binary.AppendVarint(b, p.to)
		b = binary.AppendVarint(b, int64(p.dataFrom))
		b = binary.AppendVarint(b, int64(p.dataTo))
		b = binary.AppendUvarint(b, uint64(p.next))
		b = appendWho(b, &d.who.values[p.who])
		b = appendWhat(b, &d.what.values[p.what])
	}
	return b
}

func (d *Directives) decode(row ClosingRow) (*draft, error) {
	r := reader{b: row.Data}
	if r.byte() != closingVersion {
		return nil, errClosing
	}
	n := &draft{source: source{origin: origin(r.byte()), identity: row.Key}, directive: directive{status: status(r.byte())}}
	scoped := r.byte()
	n.scope, n.signer = scope(scoped&15), signer(scoped>>4)
	subject := r.bytes()
	n.file = d.files.number(string(r.bytes()))
	n.line = uint32(r.uint())
	n.signed, n.ended = extract.Day(r.int()), extract.Day(r.int())
	n.forms.names = r.strings()
	count := int(r.uint())
	if count == 0 {
		n.others = int(r.uint())
	}
	for i := 0; i < count && !r.bad; i++ {
		p := provision{effect: effect(r.byte()), flags: flags(r.byte()), from: r.int(), to: r.int(),
			dataFrom: extract.Day(r.int()), dataTo: extract.Day(r.int()), next: uint16(r.uint())}
		w := who{recipients: r.strings(), custodians: r.strings(), purposes: r.strings(), action: match(r.byte())}
		t := what{labels: r.strings(), classes: r.strings(), codes: r.strings(), data: r.strings()}
		if int(p.next) <= i || int(p.next) > count || p.effect > deny || w.action > yes {
			r.bad = true
		}
		n.provisions, n.whos, n.whats = append(n.provisions, p), append(n.whos, w), append(n.whats, t)
	}
	if r.bad || len(r.b) != 0 || len(subject) == 0 || n.status > inError || n.scope > treatment || n.signer > byPatient|byGuardian {
		return nil, errClosing
	}
	n.subject = d.people.Intern(subject)
	return n, nil
}

func appendWho(b []byte, w *who) []byte {
	b = appendStrings(b, w.recipients)
	b = appendStrings(b, w.custodians)
	b = appendStrings(b, w.purposes)
	return append(b, byte(w.action))
}

func appendWhat(b []byte, w *what) []byte {
	b = appendStrings(b, w.labels)
	b = appendStrings(b, w.classes)
	b = appendStrings(b, w.codes)
	return appendStrings(b, w.data)
}

func appendString[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendStrings[T ~string | ~[]byte](b []byte, list []T) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for _, s := range list {
		b = appendString(b, s)
	}
	return b
}

// reader takes apart what the append functions wrote. After a defect it is
// bad and gives zeros.
type reader struct {
	b   []byte
	bad bool
}

func (r *reader) byte() byte {
	if len(r.b) == 0 {
		r.bad = true
		return 0
	}
	v := r.b[0]
	r.b = r.b[1:]
	return v
}

func (r *reader) uint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

func (r *reader) int() int64 {
	v, n := binary.Varint(r.b)
	if n <= 0 {
		r.bad, r.b = true, nil
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes aliases what is read.
func (r *reader) bytes() []byte {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	v := r.b[:n:n]
	r.b = r.b[n:]
	return v
}

func (r *reader) strings() []string {
	n := r.uint()
	if n > uint64(len(r.b)) {
		r.bad, r.b = true, nil
		return nil
	}
	var list []string
	for range n {
		list = append(list, string(r.bytes()))
	}
	return list
}

// InputError is a defect of a protective input. It stops the exchange: such
// inputs tolerate nothing, because a row that cannot be read may be a denial.
type InputError struct {
	File string
	Line int // 0 when the defect has no line
	Why  string
}

func (e *InputError) Error() string {
	if e.Line == 0 {
		return fmt.Sprintf("%s: %s", e.File, e.Why)
	}
	return fmt.Sprintf("%s:%d: %s", e.File, e.Line, e.Why)
}
