package build

import (
	"bytes"
	"context"
	"encoding/binary"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/failure"
	"github.com/posternhealth/postern/transfer"
)

// suspect is a held row that may be void.
type suspect struct {
	id   int64
	why  suspicion
	old  bool // its key is of an epoch before
	met  meeting
	date extract.Day // of its record now
}

type suspicion uint8

const (
	isGone     suspicion = iota // its record is not in the extract
	isRenewed                   // what is released of its record has a key of this epoch
	isShorter                   // its record has fewer rows now
	isInError                   // its record was taken back
	isUnasked                   // its record is no longer what the policy asks for
	isElsewhen                  // its record lies outside of the period
)

// suspects are the rows that are void if the law of today lets that be said:
// those that are lost, as half an extract would lose them, or one that writes its
// codes otherwise, and those whose record tells why.
type suspects struct {
	lost, told frames
	held       int64 // rows of the periods that this run reads
}

func newSuspects(s *spill) suspects {
	return suspects{lost: frames{spill: s}, told: frames{spill: s}}
}

// findVoids goes through all that is held, beside all that was met, and voids
// what the source has taken back. Of a record that something keeps back nothing
// is said, and every void is judged as a release of today would be.
func (r *Run) findVoids(ctx context.Context) error {
	if r.Memory == nil {
		return nil
	}
	w := &weighing{run: r, ctx: ctx}
	if err := w.addOlder(); err != nil {
		return err
	}
	if err := w.besideMet(); err != nil {
		return err
	}
	if w.weigh(); w.err != nil {
		return w.err
	}
	return r.judgeVoids()
}

// weighing looks up suspects, many together.
type weighing struct {
	run      *Run
	ctx      context.Context
	suspects []suspect
	facts    extract.Facts
	err      error
}

// suspectsTogether is how many are looked up at once.
const suspectsTogether = 1 << 10

func (w *weighing) suspect(s suspect) {
	if w.suspects = append(w.suspects, s); len(w.suspects) == suspectsTogether {
		w.weigh()
	}
}

// addOlder puts the rows of epochs before among what was met, by what their records
// are called in this epoch: only so is it known what became of them.
func (w *weighing) addOlder() error {
	older := heldCursor{ctx: w.ctx, memory: w.run.Memory, older: true}
	for h := older.peek(); h != nil; h = older.peek() {
		if w.suspects = append(w.suspects, suspect{id: h.ID}); len(w.suspects) == suspectsTogether || older.at == len(older.page)-1 {
			w.each(w.nameOlder)
		}
		if older.at++; w.err != nil {
			return w.err
		}
	}
	return older.err
}

func (w *weighing) nameOlder(_ *suspect, h *Held, _ []byte, _ *keptFacts) error {
	record, _ := w.run.Epoch.keyed("record", append(append([]byte(w.facts.Dataset), '/'), w.facts.ID...))
	id := identity{content: metOlder, ordinal: h.ID}
	id.id[0], id.id[1] = binary.BigEndian.Uint64(record[:]), binary.BigEndian.Uint64(record[8:])
	return w.run.changes.met.add(id)
}

// besideMet goes through what is held and what was met in one order.
func (w *weighing) besideMet() error {
	cursor := heldCursor{ctx: w.ctx, memory: w.run.Memory}
	var open *metRecord
	err := w.run.changes.met.replay(func(id identity) {
		if open != nil && open.id == id.id {
			open.take(id)
			return
		}
		w.pass(&cursor, open)
		open = &metRecord{id: id.id}
		open.take(id)
	})
	w.pass(&cursor, open)
	for h := cursor.peek(); h != nil; h = cursor.peek() {
		w.suspect(suspect{id: h.ID, why: isGone})
		cursor.at++
	}
	if err == nil {
		err = cursor.err
	}
	return err
}

// metRecord is what was met under one id: a record, and its copies.
type metRecord struct {
	id    [2]uint64
	met   meeting
	lines uint32
	date  extract.Day
	older []int64 // its rows of epochs before
}

func (m *metRecord) take(id identity) {
	if id.content == metOlder {
		m.older = append(m.older, id.ordinal)
		return
	}
	m.met |= meeting(id.content)
	m.lines = max(m.lines, uint32(id.content>>metLineShift))
	m.date = extract.Day(id.ordinal)
}

// pass goes past the held rows of a record that was met, and those before it.
func (w *weighing) pass(cursor *heldCursor, m *metRecord) {
	if m == nil {
		return
	}
	if m.met&metObstacle == 0 {
		for _, id := range m.older {
			w.suspect(suspect{id: id, why: m.why(), old: true, met: m.met, date: m.date})
		}
	}
	var record [16]byte
	binary.BigEndian.PutUint64(record[:], m.id[0])
	binary.BigEndian.PutUint64(record[8:], m.id[1])
	for h := cursor.peek(); h != nil; h = cursor.peek() {
		switch bytes.Compare(h.Record[:], record[:]) {
		case -1:
			w.suspect(suspect{id: h.ID, why: isGone})
		case 0:
			w.metHeld(h, m)
		default:
			return
		}
		cursor.at++
	}
}

// metHeld weighs a held row whose record was met.
func (w *weighing) metHeld(h *Held, m *metRecord) {
	if m.met&metInPeriod != 0 {
		w.run.changes.suspects.held++
	}
	s := suspect{id: h.ID, why: m.why(), met: m.met, date: m.date}
	switch {
	case m.met&metObstacle != 0:
		return
	case s.why == isRenewed: // and this row has that key
		if h.Line < m.lines {
			return
		}
		s.why = isShorter
	}
	w.suspect(s)
}

// why tells what became of a record that nothing keeps back.
func (m *metRecord) why() suspicion {
	switch {
	case m.met == 0: // only its rows of epochs before were met
		return isGone
	case m.met&metReleased != 0:
		return isRenewed
	case m.met&metInError != 0:
		return isInError
	case m.met&metUnasked != 0:
		return isUnasked
	}
	return isElsewhen
}

// weigh keeps the suspects that are void if the law of today lets that be said.
func (w *weighing) weigh() { w.each(w.one) }

// each looks the suspects up, with w.facts as they were when the row was sent.
func (w *weighing) each(see func(*suspect, *Held, []byte, *keptFacts) error) {
	if w.err != nil || len(w.suspects) == 0 {
		return
	}
	whole, ids := make(map[int64]Held, len(w.suspects)), make([]int64, len(w.suspects))
	for i := range w.suspects {
		ids[i] = w.suspects[i].id
	}
	w.err = w.run.Memory.HeldWhole(w.ctx, ids, func(h Held) { whole[h.ID] = h })
	for i := 0; i < len(w.suspects) && w.err == nil; i++ {
		h := whole[w.suspects[i].id]
		var plain []byte
		if plain, w.err = w.run.Memory.OpenHeld(w.ctx, &h); w.err != nil {
			break
		}
		var kept keptFacts
		if kept, w.err = readKept(plain, &w.facts, w.run.index.people); w.err == nil {
			w.err = see(&w.suspects[i], &h, plain, &kept)
		}
	}
	w.suspects = w.suspects[:0]
}

func (w *weighing) one(s *suspect, h *Held, plain []byte, kept *keptFacts) error {
	c := w.run.changes
	flow := w.run.flows[w.facts.Dataset]
	if flow == nil { // the policy releases none of these any more: what was sent stays
		return c.leave(h)
	}
	into, sameOnly := &c.suspects.told, kept.only == c.only[w.facts.Dataset]
	if s.old || s.why == isGone {
		switch {
		case flow.plan.InPeriod(w.facts.Date):
			c.suspects.held++
		case s.why != isGone || h.Owed != transfer.Void:
			return c.leave(h)
		}
	}
	switch {
	case s.why == isGone:
		if c.unread[w.facts.Dataset] || c.unread[extract.Unreadable] && w.run.Schemas[w.facts.Dataset] == nil { // it may be this one
			c.Unsure++
			return nil
		}
		if h.Owed != transfer.Void { // else it was weighed when that was told
			into = &c.suspects.lost
		}
	case s.why == isUnasked && sameOnly && s.met&metMarked == 0:
		into = &c.suspects.lost
	case s.old:
	case s.why == isUnasked && !sameOnly: // it may be the policy that changed, and not the record
		return c.leave(h)
	case s.why == isElsewhen && s.date == w.facts.Date.From: // the period went on
		return c.leave(h)
	}
	if s.met&metPart2 != 0 {
		plain[0] = 1
	}
	return into.add(&Kept{*h, transfer.Void, plain})
}

// judgeVoids decides about every row that may be void as about one that is to be
// released, from what was kept of it, and spools those of which that may be said.
// A run that would void more lost rows than may be is stopped: an extract that was
// cut short, or codes a status otherwise, must not void what the recipient holds.
func (r *Run) judgeVoids() error {
	s := &r.changes.suspects
	if s.lost.n+s.told.n > 0 {
		r.index.people.LinkAlike() // with those whom only held rows name
	}
	lost, err := r.judge(&s.lost)
	if err != nil {
		return err
	}
	if lost > 1 && float64(lost) > r.ShrinkLimit*float64(s.held) {
		return failure.New(failure.Unbalanced, nil, "have the extract written again, whole and with the codes that it had; if so many records were deleted indeed, raise shrink_limit of its source in postern.yaml for one run",
			"%d of the %d rows that the recipient holds of this period would be void, because their records are gone from the extract, or have a status or code that the policy does not ask for, more than the %.4g%% of shrink_limit; nothing was sent", lost, s.held, r.ShrinkLimit*100)
	}
	_, err = r.judge(&s.told)
	return err
}

func (r *Run) judge(suspects *frames) (void int64, err error) {
	c, people := r.changes, r.index.people
	var facts extract.Facts
	var again []byte
	err = suspects.each(func(k *Kept) error {
		kept, err := readKept(k.Facts, &facts, people)
		if err != nil {
			return err
		}
		decision := r.Decider.DecideAgain(&facts, kept.part2, kept.programs != c.programs)
		if decision.Reasons != 0 {
			c.KeptBack++
			return nil
		}
		line := row{subject: consent.NoSubject, bytes: append([]byte(k.Key), '\n')}
		for _, id := range facts.Subjects {
			s, _ := people.Find(id)
			line.several = append(line.several, s)
		}
		if len(line.several) == 1 {
			line.subject, line.several = line.several[0], nil
		}
		if err := r.spoolRow(r.flows[facts.Dataset].part(decision.Part2)+partOfVoid, &line); err != nil {
			return err
		}
		again = consent.AppendFacts(again[:0], &facts, people, r.Tables.Parts)
		if err := r.books.decided(again, decision.Part2); err != nil {
			return err
		}
		void++
		return c.keep(transfer.Void, &k.Held, nil)
	})
	c.Void += void
	return void, err
}

// sealVoids seals a part of keys.
func (r *Run) sealVoids(_ context.Context, part *partSpool, _ *totals) error {
	if r.held.stopped { // the drop is discarded
		return nil
	}
	info := transfer.PartInfo{Dataset: part.dataset, Part2: part.part2, Action: part.action, Format: transfer.CSV}
	spec := gate.Spec{Format: gate.CSV, Positions: []gate.Position{{Path: transfer.RowKeyColumn, Grammar: gate.RowKey(deid.CodeLen)}}}
	return r.sealBeside(info, spec, part, func(number int, line int64, row *row) error {
		for _, one := range row.people() {
			if err := r.books.row(number, line, row, part.dataset, r.index.people.ID(one)); err != nil {
				return err
			}
		}
		return nil
	})
}

// heldCursor goes through what is held in the order of Place.
type heldCursor struct {
	ctx    context.Context
	memory Memory
	older  bool
	page   []Held
	at     int
	last   Held
	ended  bool
	err    error
}

// peek gives the row at hand, nil at the end and after an error.
func (c *heldCursor) peek() *Held {
	if c.at == len(c.page) && !c.ended {
		if len(c.page) > 0 {
			c.last = c.page[len(c.page)-1]
		}
		c.page, c.err = c.memory.HeldAfter(c.ctx, c.last, c.older)
		c.at, c.ended = 0, c.err != nil || len(c.page) == 0
	}
	if c.ended {
		return nil
	}
	return &c.page[c.at]
}
