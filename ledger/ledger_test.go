package ledger

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"
	"pgregory.net/rapid"
)

var start = time.Date(2026, 7, 5, 2, 0, 0, 0, time.FixedZone("", -5*3600))

// open makes an empty ledger in a pool of one connection, as the agent has.
func open(t testing.TB) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", filepath.Join(t.TempDir(), "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	for _, statement := range []string{"PRAGMA journal_mode=WAL", "PRAGMA synchronous=OFF", Schema} {
		if _, err := db.Exec(statement); err != nil {
			t.Fatal(err)
		}
	}
	return db
}

// grow appends n events and gives the tree after each, the empty one first,
// by the test's own hashing.
func grow(t testing.TB, db *sql.DB, n int) (trees []Tree, texts [][]byte) {
	t.Helper()
	ctx := context.Background()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	trees = []Tree{{0, naiveRoot(nil)}}
	for i := range n {
		entry, err := Append(ctx, tx, Event{Kind: DropCommitted, At: start.Add(time.Duration(i) * time.Hour),
			Exchange: "x7", Sequence: int64(i + 1), Data: map[string]any{"manifest": fmt.Sprintf("%064x", i), "<&>": i}})
		if err != nil {
			t.Fatal(err)
		}
		texts = append(texts, entry.Text)
		trees = append(trees, Tree{int64(i + 1), naiveRoot(texts)})
		size, root, err := Head(ctx, tx)
		if err != nil || (Tree{size, root}) != trees[i+1] {
			t.Fatalf("head after %d entries is %d %v (%v); want %v", i+1, size, root, err, trees[i+1])
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	return trees, texts
}

// naiveRoot is MTH of RFC 6962 §2.1, word by word.
func naiveRoot(texts [][]byte) Hash {
	switch len(texts) {
	case 0:
		return sha256.Sum256(nil)
	case 1:
		return sha256.Sum256(append([]byte{0}, texts[0]...))
	}
	k := split(len(texts))
	left, right := naiveRoot(texts[:k]), naiveRoot(texts[k:])
	return sha256.Sum256(slices.Concat([]byte{1}, left[:], right[:]))
}

// split is the largest power of two smaller than n.
func split(n int) int {
	k := 1
	for k*2 < n {
		k *= 2
	}
	return k
}

// naiveProof is SUBPROOF of RFC 6962 §2.1.2.
func naiveProof(m int, texts [][]byte, whole bool) Proof {
	if m == len(texts) {
		if whole {
			return Proof{}
		}
		return Proof{naiveRoot(texts)}
	}
	k := split(len(texts))
	if m <= k {
		return append(naiveProof(m, texts[:k], whole), naiveRoot(texts[k:]))
	}
	return append(naiveProof(m-k, texts[k:], false), naiveRoot(texts[:k]))
}

// Every proof between all sizes equals the RFC's, shows what it should, and
// shows nothing else.
func TestProofsAreThoseOfRFC6962(t *testing.T) {
	ctx, db := context.Background(), open(t)
	const n = 20
	trees, texts := grow(t, db, n)
	for to := range n + 1 {
		for from := range to + 1 {
			p, err := Consistency(ctx, db, int64(from), int64(to))
			if err != nil {
				t.Fatal(err)
			}
			if from > 0 && !slices.Equal(p, naiveProof(from, texts[:to], true)) {
				t.Errorf("proof from %d to %d differs from the RFC's", from, to)
			}
			if err := VerifyConsistency(trees[from], trees[to], p); err != nil {
				t.Errorf("from %d to %d: %v", from, to, err)
			}
			for other := range n + 1 {
				wrong := VerifyConsistency(Tree{int64(from), trees[other].Root}, trees[to], p)
				if other != from && !errors.Is(wrong, ErrProof) {
					t.Errorf("from %d with root of %d to %d: %v", from, other, to, wrong)
				}
			}
			if !errors.Is(VerifyConsistency(trees[from], trees[to], append(p, Hash{})), ErrProof) {
				t.Errorf("from %d to %d: a longer proof holds too", from, to)
			}
		}
	}
	for _, bad := range [][2]int64{{-1, 3}, {4, 3}, {3, n + 1}} {
		if _, err := Consistency(ctx, db, bad[0], bad[1]); err == nil {
			t.Errorf("a proof from %d to %d was made", bad[0], bad[1])
		}
	}
}

// altered runs change in a transaction that is undone, and gives what Verify
// says in it.
func altered(t *testing.T, db *sql.DB, seen []Tree, change string, args ...any) error {
	t.Helper()
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec(change, args...); err != nil {
		t.Fatal(err)
	}
	return Verify(context.Background(), tx, seen...)
}

func wantAltered(t *testing.T, what string, err error, index int64) {
	t.Helper()
	var found *AlteredError
	if !errors.As(err, &found) {
		t.Errorf("%s: not found: %v", what, err)
	} else if found.Index != index {
		t.Errorf("%s: found at entry %d; want %d", what, found.Index, index)
	}
}

func TestEveryAlteredBitIsFound(t *testing.T) {
	db := open(t)
	grow(t, db, 4)
	for _, table := range []struct{ name, column string }{{"ledger_entry", "event"}, {"ledger_hash", "hash"}} {
		rows := cursor{db: db, query: "SELECT idx, " + table.column + " FROM " + table.name + " WHERE idx >= $1 ORDER BY idx"}
		for {
			r, found, err := rows.next(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if !found {
				break
			}
			index := r.index
			if table.name == "ledger_hash" {
				index = entryOfHash(r.index)
			}
			for bit := range len(r.data) * 8 {
				data := bytes.Clone(r.data)
				data[bit/8] ^= 1 << (bit % 8)
				err := altered(t, db, nil, "UPDATE "+table.name+" SET "+table.column+" = $1 WHERE idx = $2", data, r.index)
				wantAltered(t, fmt.Sprintf("%s %d bit %d", table.name, r.index, bit), err, index)
			}
		}
	}
}

func TestMissingMovedAndAddedRowsAreFound(t *testing.T) {
	db := open(t)
	trees, _ := grow(t, db, 7)
	if err := Verify(context.Background(), db, trees...); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		change string
		index  int64
	}{
		{"DELETE FROM ledger_entry WHERE idx = 3", 3},
		{"DELETE FROM ledger_entry WHERE idx = 6", 6},
		{"DELETE FROM ledger_entry", 0},
		{"DELETE FROM ledger_hash WHERE idx = 2", 1},
		{"DELETE FROM ledger_hash WHERE idx = 10", 6},
		{"UPDATE ledger_entry SET idx = 7 WHERE idx = 6", 6},
		{"UPDATE ledger_entry SET idx = -1 WHERE idx = 2", 0},
		{"UPDATE ledger_entry SET event = (SELECT event FROM ledger_entry AS e WHERE e.idx = 9 - ledger_entry.idx) WHERE idx IN (4, 5)", 4},
		{"INSERT INTO ledger_entry VALUES (7, x'7b7d')", 7},
		{"INSERT INTO ledger_entry VALUES (-1, x'7b7d')", 0},
		{"INSERT INTO ledger_hash VALUES (11, zeroblob(32))", 7},
		{"UPDATE ledger_hash SET hash = substr(hash, 1, 31) WHERE idx = 0", 0},
	} {
		wantAltered(t, c.change, altered(t, db, nil, c.change), c.index)
	}
}

// The end cut off whole, or a new history, is consistent in itself. Only who
// saw an earlier head can tell.
func TestOnlyWhoSawAHeadFindsANewHistory(t *testing.T) {
	ctx, db := context.Background(), open(t)
	trees, _ := grow(t, db, 7)
	for _, cut := range []string{"DELETE FROM ledger_entry WHERE idx >= 5", "DELETE FROM ledger_hash WHERE idx >= 8"} {
		if _, err := db.Exec(cut); err != nil {
			t.Fatal(err)
		}
	}
	if err := Verify(ctx, db); err != nil {
		t.Fatal(err)
	}
	wantAltered(t, "cut off", Verify(ctx, db, trees[7]), 5)
	for range 2 {
		if _, err := Append(ctx, db, Event{Kind: Hold, At: start}); err != nil {
			t.Fatal(err)
		}
	}
	if err := Verify(ctx, db, trees[:6]...); err != nil {
		t.Fatal(err)
	}
	wantAltered(t, "new history", Verify(ctx, db, trees[7]), 6)
	size, root, err := Head(ctx, db)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Consistency(ctx, db, 6, 7)
	if err != nil {
		t.Fatal(err)
	}
	if err := VerifyConsistency(trees[6], Tree{size, root}, p); !errors.Is(err, ErrProof) {
		t.Errorf("the recipient accepts the new history: %v", err)
	}
}

func TestAppendRefusesADamagedLedger(t *testing.T) {
	ctx, db := context.Background(), open(t)
	grow(t, db, 3)
	for _, damage := range []string{"DELETE FROM ledger_entry WHERE idx = 2", "DELETE FROM ledger_hash WHERE idx = 2", "DELETE FROM ledger_hash WHERE idx = 3"} {
		tx, err := db.Begin()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.Exec(damage); err != nil {
			t.Fatal(err)
		}
		_, err = Append(ctx, tx, Event{Kind: Hold, At: start})
		var found *AlteredError
		if !errors.As(err, &found) {
			t.Errorf("after %s: %v", damage, err)
		}
		tx.Rollback()
	}
}

func TestRolledBackAppendNeverWas(t *testing.T) {
	ctx, db := context.Background(), open(t)
	trees, _ := grow(t, db, 3)
	tx, err := db.Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Append(ctx, tx, Event{Kind: Hold, At: start}); err != nil {
		t.Fatal(err)
	}
	tx.Rollback()
	size, root, err := Head(ctx, db)
	if err != nil || (Tree{size, root}) != trees[3] {
		t.Fatalf("head is %d %v, %v", size, root, err)
	}
}

func TestEventsHaveOneForm(t *testing.T) {
	ctx, db := context.Background(), open(t)
	event := Event{Kind: Receipt, At: start, Exchange: "x7", Sequence: 42, Data: map[string]any{"b": 1, "a": "<x>", "c": nil}}
	entry, err := Append(ctx, db, event)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"kind":"receipt","at":"2026-07-05T07:00:00Z","exchange":"x7","sequence":42,"data":{"a":"<x>","b":1,"c":null}}`
	if string(entry.Text) != want {
		t.Errorf("got  %s\nwant %s", entry.Text, want)
	}
	for stored, err := range Entries(ctx, db, 0) {
		if err != nil {
			t.Fatal(err)
		}
		if string(stored.Text) != want {
			t.Errorf("read back %s", stored.Text)
		}
	}
	for _, bad := range []Event{
		{At: start}, {Kind: "Drop", At: start}, {Kind: "run"},
		{Kind: Hold, At: start, Data: []int{1}}, {Kind: Hold, At: start, Data: "x"}, {Kind: Hold, At: start, Data: make(chan int)},
		{Kind: Hold, At: start, Data: map[string]string{"x": strings.Repeat("x", maxEvent)}},
	} {
		if _, err := Append(ctx, db, bad); err == nil {
			t.Errorf("accepted an event of kind %q", bad.Kind)
		}
	}
}

func key(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func TestCheckpoints(t *testing.T) {
	const origin = "clearview.example/postern"
	ctx, db := context.Background(), open(t)
	signer, err := Signer(origin, key(1))
	if err != nil {
		t.Fatal(err)
	}
	verifier, err := VerifierKey(origin, key(1).Public().(ed25519.PublicKey))
	if err != nil {
		t.Fatal(err)
	}
	trees, _ := grow(t, db, 3)
	before, err := Checkpoint(ctx, db, origin, signer)
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%s\n3\n%s\n\n— %s ", origin, trees[3].Root, origin); !bytes.HasPrefix(before, []byte(want)) {
		t.Errorf("checkpoint is\n%s\nwant\n%s", before, want)
	}
	if got, err := VerifyCheckpoint(before, verifier); err != nil || got != trees[3] {
		t.Errorf("got %v, %v", got, err)
	}
	if _, err := Append(ctx, db, Event{Kind: Hold, At: start}); err != nil {
		t.Fatal(err)
	}
	now, err := Checkpoint(ctx, db, origin, signer)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Consistency(ctx, db, 3, 4)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(VerifyContinues(nil, now, verifier, nil), VerifyContinues(before, now, verifier, p.Strings())); err != nil {
		t.Error(err)
	}
	if err := VerifyContinues(now, before, verifier, p.Strings()); !errors.Is(err, ErrProof) {
		t.Errorf("backwards: %v", err)
	}
	if err := VerifyContinues(before, now, verifier, []string{"x"}); err == nil {
		t.Error("a proof that is none was accepted")
	}
	head, err := VerifyCheckpoint(now, verifier)
	if err != nil {
		t.Fatal(err)
	}
	for bit := range len(now) * 8 {
		changed := bytes.Clone(now)
		changed[bit/8] ^= 1 << (bit % 8)
		got, err := VerifyCheckpoint(changed, verifier)
		// The last base64 character of a signature has bits without meaning.
		if err == nil && got != head {
			t.Errorf("bit %d altered: accepted as %v", bit, got)
		}
	}
	other, _ := VerifierKey(origin, key(2).Public().(ed25519.PublicKey))
	if _, err := VerifyCheckpoint(now, other); err == nil {
		t.Error("accepted by another key")
	}
	next, err := Signer(origin, key(2))
	if err != nil {
		t.Fatal(err)
	}
	both, err := Checkpoint(ctx, db, origin, signer, next)
	if err != nil {
		t.Fatal(err)
	}
	for _, by := range []string{verifier, other} {
		if got, err := VerifyCheckpoint(both, by); err != nil || got != head {
			t.Errorf("signed by two: %v, %v", got, err)
		}
	}
	if _, err := Checkpoint(ctx, db, "other.example/postern", signer); err == nil {
		t.Error("signed for another origin")
	}
	if _, err := Signer("a name", key(1)); err == nil {
		t.Error("a name with a blank was accepted")
	}
}

func TestExportIsTheLedger(t *testing.T) {
	ctx, db := context.Background(), open(t)
	trees, texts := grow(t, db, 5)
	var out bytes.Buffer
	if err := Export(ctx, db, &out); err != nil {
		t.Fatal(err)
	}
	lines := strings.SplitAfter(strings.TrimSuffix(out.String(), "\n"), "\n")
	var first struct{ Event json.RawMessage }
	if err := json.Unmarshal([]byte(lines[0]), &first); err != nil || !bytes.Equal(first.Event, texts[0]) || len(lines) != 6 {
		t.Fatalf("export is\n%s", out.String())
	}
	if got, err := VerifyExport(bytes.NewReader(out.Bytes())); err != nil || got != trees[5] {
		t.Fatalf("got %v, %v", got, err)
	}
	good := out.Bytes()
	for bit := range (len(good) - 1) * 8 { // the last line end is no content
		changed := bytes.Clone(good)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, err := VerifyExport(bytes.NewReader(changed)); err == nil {
			t.Errorf("bit %d altered: accepted", bit)
		}
	}
	for i := range lines {
		if _, err := VerifyExport(strings.NewReader(strings.Join(slices.Delete(slices.Clone(lines), i, i+1), ""))); err == nil {
			t.Errorf("line %d missing: accepted", i+1)
		}
		j := (i + 1) % len(lines)
		swapped := slices.Clone(lines)
		swapped[i], swapped[j] = swapped[j], swapped[i]
		if _, err := VerifyExport(strings.NewReader(strings.Join(swapped, ""))); err == nil {
			t.Errorf("lines %d and %d swapped: accepted", i+1, j+1)
		}
	}
}

func TestEntriesAcrossBatches(t *testing.T) {
	ctx, db := context.Background(), open(t)
	trees, texts := grow(t, db, 600)
	count := 0
	for entry, err := range Entries(ctx, db, 5) {
		if err != nil || !bytes.Equal(entry.Text, texts[5+count]) {
			t.Fatalf("entry %d: %v", 5+count, err)
		}
		count++
	}
	if count != 595 {
		t.Errorf("%d entries; want 595", count)
	}
	if err := Verify(ctx, db, trees...); err != nil {
		t.Error(err)
	}
}

func TestProofTextReadsBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var p Proof
		for range rapid.IntRange(0, 5).Draw(t, "n") {
			p = append(p, Hash(rapid.SliceOfN(rapid.Byte(), 32, 32).Draw(t, "hash")))
		}
		got, err := ParseProof(p.Strings())
		if err != nil || !slices.Equal(got, p) {
			t.Fatalf("got %v, %v", got, err)
		}
	})
}

func FuzzVerifyExport(f *testing.F) {
	f.Add([]byte(`{"size":0,"root":"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="}` + "\n"))
	f.Add([]byte(`{"index":0,"leaf":"","event":{}}` + "\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, err := VerifyExport(bytes.NewReader(data))
		if err == nil && tree.Size != int64(bytes.Count(bytes.TrimRight(data, "\r\n"), []byte("\n"))) {
			t.Fatalf("accepted as %d entries: %q", tree.Size, data)
		}
	})
}

func FuzzVerifyCheckpoint(f *testing.F) {
	verifier, err := VerifierKey("o", key(1).Public().(ed25519.PublicKey))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte("o\n0\n47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=\n\n— o AAAA\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if _, err := VerifyCheckpoint(data, verifier); err == nil {
			t.Fatal("a checkpoint that nobody signed was accepted")
		}
	})
}

func BenchmarkAppend(b *testing.B) {
	ctx, db := context.Background(), open(b)
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	defer tx.Rollback()
	for b.Loop() {
		if _, err := Append(ctx, tx, Event{Kind: Hold, At: start, Exchange: "x7", Sequence: 1}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkVerify(b *testing.B) {
	ctx, db := context.Background(), open(b)
	for range 1000 {
		if _, err := Append(ctx, db, Event{Kind: Hold, At: start, Exchange: "x7", Sequence: 1}); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		if err := Verify(ctx, db); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)*1000/b.Elapsed().Seconds(), "entries/s")
}
