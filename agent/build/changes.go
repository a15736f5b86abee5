package build

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"slices"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/transfer"
)

// A drop of changes is made against what the recipient holds or will hold (DESIGN,
// The second run). A released row that is not held is added; one that is held
// with other bytes is changed; one with the same bytes is out of scope, unchanged.
// What is held and no longer released is found when all is read, see findVoids.

// actions are those of a dataset's parts, in their order.
var actions = []string{transfer.Add, transfer.Change, transfer.Void}

// places of an action's part behind the one of added rows
const (
	partOfChanged = 1
	partOfVoid    = 2
)

// Changes counts the rows of a drop of changes.
type Changes struct {
	Add       int64 `json:"add"`
	Change    int64 `json:"change"`
	Void      int64 `json:"void"`
	Unchanged int64 `json:"unchanged"`
	KeptBack  int64 `json:"kept_back,omitempty"` // gone, or taken back, and not void because something keeps back what would be said of them
	Owed      int64 `json:"owed,omitempty"`      // still to be told, or told anew, and outside of what this run tells of
	Unsure    int64 `json:"unsure,omitempty"`    // gone from the extract, and not void because records that cannot be read may be they
}

// Place is where a row is held: the keyed hash of its record, and which of the
// record's rows it is, from 0.
type Place struct {
	Record [16]byte
	Line   uint32
}

// Held is a row that the recipient holds or will hold.
type Held struct {
	Place
	ID      int64 // the memory's own
	Epoch   int64 // likewise
	Key     string
	Again   string   // the action by which it is told anew, whatever it is now; mostly empty
	Owed    string   // the action that it was told next, where that does not count as taken; mostly empty
	Content [16]byte // keyed hash of what was sent
	Basis   [16]byte // keyed hash of what Sealed holds
	Sealed  []byte   // of what Facts of Kept was
}

// Refresh is the action of a row that is unchanged and is to be judged by other
// facts from now on: nothing is sent.
const Refresh = "refresh"

// Kept is what the commit does to a row of the memory: by Action, it is held,
// held otherwise, judged otherwise, or no longer held.
type Kept struct {
	Held
	Action string
	Facts  []byte // what is needed to judge it again, to be sealed
}

type changes struct {
	Changes
	ctx      context.Context // of the batch at hand
	job      *Job
	keyed    hash.Hash
	programs [8]byte            // of those declared now
	only     map[string][8]byte // of each dataset's conditions, periods aside
	asked    [][16]byte
	held     map[Place]Held // of the records at hand
	lines    []changedLine  // of the record at hand
	met      *sorter        // every record of a released dataset that the extract holds
	unread   map[string]bool
	kept     frames
	suspects suspects
}

// changedLine is a row of the record at hand, held against the memory.
type changedLine struct {
	row
	Held
	action string // empty: it is unchanged
}

func newChanges(job *Job, s *spill) *changes {
	secret := job.Epoch.Secret.Key("held rows")
	c := &changes{
		job: job, keyed: hmac.New(sha256.New, secret[:]), held: map[Place]Held{}, met: newSorter(job.Scratch),
		unread: map[string]bool{}, only: map[string][8]byte{}, kept: frames{spill: s}, suspects: newSuspects(s),
	}
	c.programs = short(job.Tables.Programs.Keys())
	for _, release := range job.Policy.Release {
		var text []byte
		for _, o := range release.Only {
			if o.Period != "" {
				continue
			}
			text = fmt.Appendf(text, "%q ", o.Path)
			o.Codes.Each(func(from, to string, deep bool) { text = fmt.Appendf(text, "%q..%q %t ", from, to, deep) })
			if o.Range != nil {
				text = fmt.Appendf(text, "%g..%g", o.Range.Min, o.Range.Max)
			}
		}
		c.only[release.Dataset] = short(text)
	}
	return c
}

func short(text []byte) (sum [8]byte) {
	whole := sha256.Sum256(text)
	copy(sum[:], whole[:])
	return sum
}

func (c *changes) close() error {
	if c == nil {
		return nil
	}
	return c.met.close()
}

// enteredInError is the status of a record that never was true (FHIR R4,
// ObservationStatus and others).
const enteredInError = "entered-in-error"

// marks are the other statuses by which a source says that a record is no longer
// what it was (FHIR R4, ObservationStatus and EventStatus).
var marks = []string{"amended", "corrected", "cancelled", "not-done"}

// followable keeps back what no later drop could correct, and what the source
// itself takes back.
func (w *releaseWorker) followable(o *outcome) {
	if len(w.rec.Facts.ID) == 0 {
		o.reasons, o.detail = o.reasons.With(extract.SchemaMismatch), "it has no id, by which a later drop could correct it"
	}
	if string(w.rec.Facts.Status) == enteredInError {
		o.reasons = o.reasons.With(extract.Measure)
	}
}

// meeting says how a record was met: whatever it says, the record is there.
type meeting uint16

const (
	metReleased meeting = 1 << iota
	metObstacle         // withheld, or rejected: nothing is said of its rows
	metInPeriod
	metUnasked   // out of scope, and not by its date alone
	metInError   // taken back by the source
	metElsewhen  // out of scope by its date alone
	metUnread    // it is rejected and has no id
	metPart2     // under Part 2, as decided now
	metMarked    // the source says by its status that it is no longer what it was
	metLineShift = 16
	metOlder     = 1 << 63 // of an entry that stands for a held row of an epoch before
)

// meet notes how the record in w.rec was met.
func (w *releaseWorker) meet(o *outcome) {
	rec, flow := &w.rec, w.run.flows[w.rec.Dataset]
	switch {
	case flow == nil && rec.Dataset != extract.Unreadable:
		return
	case flow == nil || len(rec.Facts.ID) == 0:
		o.met = metUnread
		return
	case !o.hasID:
		w.identify(o)
	}
	o.date = rec.Facts.Date.From
	const scope = extract.ReasonSet(1<<extract.Repeated | 1<<extract.Period | 1<<extract.Measure | 1<<extract.Population)
	switch {
	case o.reasons == 0:
		o.met = metReleased
	case o.reasons&^scope != 0:
		o.met = metObstacle
	case string(rec.Facts.Status) == enteredInError:
		o.met = metInError
	case !flow.plan.Asks(rec):
		o.met = metUnasked
	default:
		o.met = metElsewhen
	}
	if !o.reasons.Has(extract.Period) {
		o.met |= metInPeriod
	}
	if o.part2 {
		o.met |= metPart2
	}
	if slices.Contains(marks, string(rec.Facts.Status)) {
		o.met |= metMarked
	}
}

// meet notes a settled record. Without changes there is nothing to note.
func (c *changes) meet(o *outcome) error {
	switch {
	case c == nil || o.met == 0:
		return nil
	case o.met == metUnread:
		c.unread[o.dataset] = true
		return nil
	case o.met&metReleased != 0 && o.reasons.First().Disposition() == extract.Withheld:
		o.met = o.met&^metReleased | metObstacle
	}
	id := identity{content: uint64(o.met) | uint64(len(c.lines))<<metLineShift, ordinal: int64(o.date)}
	id.id[0], id.id[1] = binary.BigEndian.Uint64(o.record[:]), binary.BigEndian.Uint64(o.record[8:])
	c.lines = c.lines[:0]
	return c.met.add(id)
}

// lookUp finds what is held of the records that a batch releases.
func (c *changes) lookUp(ctx context.Context, outcomes []outcome) error {
	if c == nil {
		return nil
	}
	c.ctx, c.lines, c.asked = ctx, c.lines[:0], c.asked[:0]
	clear(c.held)
	for i := range outcomes {
		if o := &outcomes[i]; o.part >= 0 && o.hasID {
			c.asked = append(c.asked, o.record)
		}
	}
	if c.job.Memory == nil {
		return nil
	}
	return c.job.Memory.Held(ctx, c.asked, func(h Held) { c.held[h.Place] = h })
}

// heldNow is what lookUp found.
func (c *changes) heldNow() map[Place]Held {
	if c == nil {
		return nil
	}
	return c.held
}

// sum is a keyed hash.
func (c *changes) sum(texts ...[]byte) (sum [16]byte) {
	c.keyed.Reset()
	for _, text := range texts {
		c.keyed.Write(text)
	}
	var room [sha256.Size]byte
	copy(sum[:], c.keyed.Sum(room[:0]))
	return sum
}

// compare holds the nth row of a record against the memory. Which side of Part 2
// it stands on is part of what the recipient is told.
func (c *changes) compare(o *outcome, line *row, n int) {
	l := changedLine{row: *line}
	side := []byte{0}
	if o.part2 {
		side[0] = 1
	}
	at := Place{o.record, uint32(n)}
	held, is := c.held[at]
	l.Held, l.Place = held, at
	l.Content = c.sum(line.bytes, side)
	switch {
	case !is:
		l.action = transfer.Add
		l.Key = line.key
	case held.Again != "":
		l.action = held.Again
	case l.Content != held.Content:
		l.action = transfer.Change
	}
	c.lines = append(c.lines, l)
}

// spoolChanges spools those rows of a record that are new or changed. Where a
// held row is about somebody else than the record is now, it must be lawful to
// say something of that person, too.
func (r *Run) spoolChanges(o *outcome, facts []byte) error {
	c, sent := r.changes, false
	for i := range c.lines {
		l := &c.lines[i]
		if l.action == "" || l.ID == 0 {
			continue
		}
		reasons, err := r.obstacleOf(&l.Held, facts)
		if err != nil {
			return err
		}
		if o.reasons |= reasons; reasons != 0 {
			o.detail = "what the recipient holds of it is about another person, of whom nothing may be said"
			return nil
		}
	}
	kept := c.toKeep(o, facts)
	basis := c.sum(kept)
	for i := range c.lines {
		l := &c.lines[i]
		part := o.part
		switch l.action {
		case "":
			if c.Unchanged++; l.Basis == basis && l.Owed == "" {
				continue
			}
			l.Basis = basis
			if err := c.keep(Refresh, &l.Held, kept); err != nil {
				return err
			}
			continue
		case transfer.Add:
			c.Add++
		case transfer.Change:
			c.Change++
			part += partOfChanged
		}
		sent, l.Basis = true, basis
		if err := r.spoolRow(part, &l.row); err != nil {
			return err
		}
		if err := c.keep(l.action, &l.Held, kept); err != nil {
			return err
		}
	}
	if !sent {
		o.reasons = o.reasons.With(extract.Unchanged)
	}
	return nil
}

// obstacleOf is what keeps anything from being said of a held row about somebody
// whom its record no longer names. If nothing does, that is judged again before
// delivery.
func (r *Run) obstacleOf(h *Held, now []byte) (extract.ReasonSet, error) {
	var was, is extract.Facts
	var k keptFacts
	var plain []byte
	err := r.Memory.HeldWhole(r.changes.ctx, []int64{h.ID}, func(whole Held) { h.Epoch, h.Sealed = whole.Epoch, whole.Sealed })
	if err == nil {
		plain, err = r.Memory.OpenHeld(r.changes.ctx, h)
	}
	if err == nil {
		k, err = readKept(plain, &was, nil)
	}
	if err == nil {
		_, err = consent.ReadFacts(now, &is, nil)
	}
	if err != nil || sameSubjects(&was, &is) {
		return 0, err
	}
	for _, id := range was.Subjects {
		if _, known := r.index.people.Find(id); !known {
			return extract.ReasonSet(0).With(extract.ConsentIndeterminate), nil
		}
	}
	decision := r.Decider.DecideAgain(&was, k.part2, k.programs != r.changes.programs)
	if decision.Reasons == 0 {
		err = r.books.decided(k.facts, decision.Part2)
	}
	return decision.Reasons, err
}

func sameSubjects(a, b *extract.Facts) bool {
	if len(a.Subjects) != len(b.Subjects) {
		return false
	}
	for i := range a.Subjects {
		if string(a.Subjects[i]) != string(b.Subjects[i]) {
			return false
		}
	}
	return true
}

// leave says nothing of a held row.
func (c *changes) leave(h *Held) error {
	if h.Again+h.Owed != "" {
		c.Owed++
	}
	return nil
}

// keep has the commit store what becomes of a row.
func (c *changes) keep(action string, h *Held, facts []byte) error {
	if c.job.Drop == nil {
		return nil
	}
	return c.kept.add(&Kept{*h, action, facts})
}

// NewHeld hands over what the commit is to change of what is held.
func (r *Run) NewHeld(keep func(*Kept) error) error {
	if r.changes == nil {
		return nil
	}
	return r.changes.kept.each(keep)
}
