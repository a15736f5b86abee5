package agent

import (
	"context"
	"database/sql"
	"fmt"
	"maps"
	"math/rand/v2"
	"testing"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/transfer"
)

// history is what drops said of each row, in order; content 0 is a void. What is
// held is the last word, whichever drops are taken out of it.
type history map[uint32][]word

type word struct {
	drop    int64
	content byte
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
		if !which(row) {
			continue
		}
		var kept []word
		for _, w := range words {
			switch {
			case w.drop == drop:
				n++
			case w.content > 0 || len(kept) > 0 && kept[len(kept)-1].content > 0: // else there is nothing to void any more
				kept = append(kept, w)
			}
		}
		h[row] = kept
	}
	return n
}

// TestMemoryForgetsDrops takes drops out of random histories, whole or by rows, in
// any order, and holds the memory against the history without them.
func TestMemoryForgetsDrops(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(40) {
		random := rand.New(rand.NewPCG(seed, 1))
		db, err := openDatabase(ctx, t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatalf("history %d: %v", seed, err)
			}
		}
		aead, err := heldKey([32]byte{1})
		must(err)
		h := history{}
		commit := func(drop int64) {
			must(inTx(ctx, db, func(tx *sql.Tx) error {
				s := heldStore{ctx: ctx, number: drop, exchange: "x", epoch: 1, aead: aead}
				if err := s.prepare(tx); err != nil {
					return err
				}
				defer s.close()
				held := h.held()
				for row := range uint32(8) {
					if random.IntN(2) == 0 {
						continue
					}
					k := build.Kept{Held: build.Held{Place: build.Place{Line: row}, Key: fmt.Sprint(row)}, Action: transfer.Add}
					if _, is := held[row]; is {
						k.Action = []string{transfer.Change, transfer.Void}[random.IntN(2)]
						must(tx.QueryRow(`SELECT id FROM held WHERE line = ?`, row).Scan(&k.ID))
					}
					w := word{drop, byte(1 + random.IntN(200))}
					if k.Action == transfer.Void {
						w.content = 0
					}
					k.Content[0] = w.content
					h[row] = append(h[row], w)
					if err := s.keep(&k); err != nil {
						return err
					}
				}
				return nil
			}))
		}
		compare := func(after string) {
			got := map[uint32]word{}
			var row8 uint32
			var content []byte
			var drop int64
			must(each(ctx, db, row{&row8, &content, &drop}, func() error {
				got[row8] = word{drop, content[0]}
				return nil
			}, `SELECT line, content, number FROM held`))
			if !maps.Equal(got, h.held()) {
				t.Fatalf("history %d, %s: held %v, must be %v", seed, after, got, h.held())
			}
		}
		for drop := int64(1); drop <= 12; drop++ {
			commit(drop)
			compare(fmt.Sprintf("drop %d", drop))
			if random.IntN(3) > 0 {
				continue
			}
			out := drop - int64(random.IntN(2)) // the last one, or the one before it
			which, keys := func(uint32) bool { return true }, []string(nil)
			if random.IntN(2) == 0 {
				which = func(row uint32) bool { return row%2 == 0 }
				keys = []string{"0", "2", "4", "6", "not ours"}
			}
			n := h.forget(out, which)
			must(inTx(ctx, db, func(tx *sql.Tx) error {
				if keys == nil {
					return forget(ctx, tx, "x", out)
				}
				got, err := unhold(ctx, tx, "x", out, keys)
				if got != n {
					t.Errorf("history %d: %d rows of drop %d were not taken, must be %d", seed, got, out, n)
				}
				return err
			}))
			compare(fmt.Sprintf("without drop %d", out))
		}
	}
}
