package agent

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/transfer"
)

// history is what drops told of each row, in order; content 0 is a void. What is
// held is the last word, whichever drops are taken out of it.
type history map[uint32][]word

type word struct {
	drop    int64
	content byte
	again   string // the action by which it is told anew, because an earlier word was not taken
	owed    string // the action of a word after it that was not taken
}

func (h history) held() map[uint32]word {
	held := map[uint32]word{}
	for row, words := range h {
		if len(words) > 0 && words[len(words)-1].content > 0 {
			held[row] = words[len(words)-1]
		}
	}
	return held
}

func (h history) forget(drop int64, which func(row uint32) bool) (n int64) {
	for row, words := range h {
		at := slices.IndexFunc(words, func(w word) bool { return w.drop == drop })
		if at < 0 || !which(row) {
			continue
		}
		again := transfer.Add
		if at > 0 && words[at-1].content > 0 && words[at-1].again != transfer.Add {
			again = transfer.Change
		}
		for later := at + 1; later < len(words); later++ {
			words[later].again = again
			if words[later].content == 0 { // void: after it the row is not known to be there
				again = transfer.Add
			}
		}
		for before := range at {
			words[before].owed = transfer.Change
			if words[at].content == 0 {
				words[before].owed = transfer.Void
			}
		}
		h[row] = slices.Delete(words, at, at+1)
		n++
	}
	return n
}

// remembering is a release memory, and what runs and answers do to it.
type remembering struct {
	*testing.T
	db     *sql.DB
	x      string // the exchange
	random *rand.Rand
	drop   int64
}

// remember goes through so many histories, and those that have shown something, each
// of an exchange of its own.
func remember(t *testing.T, histories int, do func(seed int, m *remembering), shown ...int) {
	db, err := openDatabase(context.Background(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for seed := range histories {
		shown = append(shown, seed)
	}
	for _, seed := range shown {
		do(seed, &remembering{t, db, fmt.Sprint("history ", seed), rand.New(rand.NewPCG(uint64(seed), 1)), 0})
	}
}

func (m *remembering) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatalf("%s, drop %d: %v", m.x, m.drop, err)
	}
}

func (m *remembering) in(do func(tx *sql.Tx) error) {
	m.Helper()
	m.must(inTx(context.Background(), m.db, do))
}

// tell commits the next drop.
func (m *remembering) tell(rows []build.Kept) {
	m.Helper()
	m.drop++
	aead, err := heldKey([32]byte{1})
	m.must(err)
	m.in(func(tx *sql.Tx) error {
		s := heldStore{ctx: context.Background(), number: m.drop, exchange: m.x, epoch: 1, aead: aead}
		if err := s.prepare(tx); err != nil {
			return err
		}
		defer s.close()
		for i := range rows {
			if err := s.keep(&rows[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

func kept(row uint32, action string, content byte) build.Kept {
	k := build.Kept{Held: build.Held{Place: build.Place{Line: row}, Key: fmt.Sprint(row)}, Action: action}
	k.Content[0] = content
	return k
}

func (m *remembering) held() map[uint32]word {
	got := map[uint32]word{}
	var line uint32
	var content []byte
	var w word
	m.must(each(context.Background(), m.db, row{&line, &content, &w.drop, &w.again, &w.owed}, func() error {
		w.content = content[0]
		got[line] = w
		return nil
	}, `SELECT line, content, number, again, owed FROM held WHERE exchange = ?`, m.x))
	return got
}

// TestMemoryForgetsDrops takes drops out of random histories, whole or by rows, in
// any order, and holds the memory against the history without them.
func TestMemoryForgetsDrops(t *testing.T) {
	remember(t, 40, func(_ int, m *remembering) {
		h := history{}
		compare := func(after string) {
			t.Helper()
			if got := m.held(); !maps.Equal(got, h.held()) {
				t.Fatalf("%s, %s: held %v, must be %v", m.x, after, got, h.held())
			}
		}
		for drop := int64(1); drop <= 12; drop++ {
			held, rows := h.held(), []build.Kept(nil)
			for row := range uint32(8) {
				if m.random.IntN(2) == 0 {
					continue
				}
				w, action := word{drop: drop, content: byte(1 + m.random.IntN(200))}, transfer.Add
				if _, is := held[row]; is {
					action = []string{transfer.Change, transfer.Void, transfer.Add}[m.random.IntN(3)]
				}
				if action == transfer.Void {
					w.content = 0
				}
				h[row] = append(h[row], w)
				rows = append(rows, kept(row, action, w.content))
			}
			m.tell(rows)
			compare(fmt.Sprintf("drop %d", drop))
			if m.random.IntN(3) > 0 {
				continue
			}
			out := 1 + m.random.Int64N(drop)
			which, keys := func(uint32) bool { return true }, []string(nil)
			if m.random.IntN(2) == 0 {
				which = func(row uint32) bool { return row%2 == 0 }
				keys = []string{"0", "2", "4", "6", "not ours"}
			}
			n := h.forget(out, which)
			m.in(func(tx *sql.Tx) error {
				if keys == nil {
					return forget(t.Context(), tx, m.x, out)
				}
				got, err := unhold(t.Context(), tx, m.x, out, keys)
				if got != n {
					t.Errorf("%s: %d rows of drop %d were not taken, must be %d", m.x, got, out, n)
				}
				return err
			})
			compare(fmt.Sprintf("without drop %d", out))
		}
	})
}

// payer is a recipient's table, by row key. A careless one passes over changes of
// rows that it does not have, and takes drops after one that it rejected.
type payer struct {
	careless bool
	rows     map[uint32]byte
}

func (p *payer) take(k *build.Kept) {
	_, has := p.rows[k.Line]
	switch {
	case k.Action == transfer.Void:
		delete(p.rows, k.Line)
	case has || !p.careless || k.Action == transfer.Add:
		p.rows[k.Line] = k.Content[0]
	}
}

// run tells what has changed of a source since, as a run does.
func (m *remembering) run(source map[uint32]byte) (rows []build.Kept) {
	m.Helper()
	held := m.held()
	for row, content := range source {
		w, is := held[row]
		switch {
		case !is:
			rows = append(rows, kept(row, transfer.Add, content))
		case w.again != "" || w.content != content:
			rows = append(rows, kept(row, cmp.Or(w.again, transfer.Change), content))
		}
	}
	for row := range held {
		if source[row] == 0 {
			rows = append(rows, kept(row, transfer.Void, 0))
		}
	}
	slices.SortFunc(rows, func(a, b build.Kept) int { return cmp.Compare(a.Line, b.Line) }) // a map has no order, a history of random refusals has one
	m.tell(rows)
	return rows
}

// TestLateAnswersLoseNothing: whatever rows a payer refuses, and however late it
// says so, and whichever drops are given up after it rejected one, the next drop
// that it takes makes its table that of the source, though it be careless; and the
// one after that has nothing to tell.
func TestLateAnswersLoseNothing(t *testing.T) {
	remember(t, 60, func(seed int, m *remembering) {
		p, source, late := payer{seed%2 == 1, map[uint32]byte{}}, map[uint32]byte{}, map[int64][]string{}
		tell := func(drop int64) {
			m.in(func(tx *sql.Tx) error {
				_, err := unhold(t.Context(), tx, m.x, drop, late[drop])
				return err
			})
			delete(late, drop)
		}
		live := func() {
			for row := range uint32(8) {
				if m.random.IntN(3) == 0 {
					if source[row] = byte(m.random.IntN(4)); source[row] == 0 {
						delete(source, row)
					}
				}
			}
		}
		refuseOne := func(rows []build.Kept, in int) {
			for i := range rows {
				if m.random.IntN(in) == 0 {
					late[m.drop] = append(late[m.drop], rows[i].Key)
				} else {
					p.take(&rows[i])
				}
			}
		}
		for range 10 {
			live()
			refuseOne(m.run(source), 4)
			for _, drop := range slices.Sorted(maps.Keys(late)) {
				if m.random.IntN(2) == 0 {
					tell(drop)
				}
			}
			if m.random.IntN(4) > 0 {
				continue
			}
			live()
			m.run(source) // is rejected as a whole
			rejected := m.drop
			for range m.random.IntN(3) {
				live()
				if rows := m.run(source); p.careless {
					refuseOne(rows, 4)
				}
			}
			m.in(func(tx *sql.Tx) error { // given up
				for n := m.drop; n > rejected; n-- {
					if err := doubt(t.Context(), tx, m.x, n); err != nil {
						return err
					}
				}
				return forget(t.Context(), tx, m.x, rejected)
			})
		}
		for _, drop := range slices.Sorted(maps.Keys(late)) {
			tell(drop)
		}
		for _, k := range m.run(source) {
			p.take(&k)
		}
		if !maps.Equal(p.rows, source) {
			t.Errorf("%s: the payer has %v, the source %v", m.x, p.rows, source)
		}
		if rows := m.run(source); len(rows) > 0 {
			t.Errorf("%s: %d rows are told once more", m.x, len(rows))
		}
	}, 2105) // an add that was refused after a void, and a refusal from before the void
}
