package build

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
)

var errPlanned = errors.New("planned")

// TestPiecesComeInOrder: whatever goes wrong where, the sink sees the pieces
// before it, each once and in order, and the error is the first one's.
func TestPiecesComeInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		pieces := rapid.IntRange(0, 60).Draw(t, "pieces")
		workers := rapid.IntRange(1, 4).Draw(t, "workers")
		fault := rapid.SampledFrom([]string{"none", "next", "work", "sink", "cancel"}).Draw(t, "fault")
		at := rapid.IntRange(0, 60).Draw(t, "at")
		type piece struct{ n, worked int }
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		n, sunk := 0, 0
		var allocated, making atomic.Int32
		known := map[*piece]bool{}
		err := inOrder(ctx, workers,
			func(p *piece) error {
				if fault == "next" && n == at {
					return errPlanned
				}
				if n == pieces {
					return io.EOF
				}
				if !known[p] {
					known[p] = true
					allocated.Add(1)
				}
				p.n, p.worked = n, -1
				n++
				return nil
			},
			func() func(*piece) error {
				making.Add(1)
				return func(p *piece) error {
					if fault == "work" && p.n == at {
						return errPlanned
					}
					p.worked = p.n * p.n
					return nil
				}
			},
			func(p *piece) error {
				if p.n != sunk || p.worked != p.n*p.n {
					t.Fatalf("piece %d (worked %d) came as number %d", p.n, p.worked, sunk)
				}
				if fault == "cancel" && sunk == at {
					cancel()
				}
				if fault == "sink" && sunk == at {
					return errPlanned
				}
				sunk++
				return nil
			})
		want, whole := error(nil), pieces
		if fault != "none" && (at < pieces || fault == "next" && at == pieces) {
			want, whole = errPlanned, at
			if fault == "cancel" {
				want, whole = context.Canceled, at+1
			}
		}
		if !errors.Is(err, want) || sunk != whole {
			t.Fatalf("error %v after %d pieces, want %v after %d", err, sunk, want, whole)
		}
		if int(making.Load()) != workers || int(allocated.Load()) > workers+2 {
			t.Fatalf("%d workers, %d pieces in flight", making.Load(), allocated.Load())
		}
	})
}

// TestPassEndsWhenItsCallerDoes: a worker that waits is no reason to go on.
func TestPassEndsWhenItsCallerDoes(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	started := make(chan struct{}, 8)
	ended := make(chan error)
	go func() {
		ended <- inOrder(ctx, 2, func(*int) error { return nil }, // there is always more
			func() func(*int) error {
				return func(*int) error { started <- struct{}{}; <-ctx.Done(); return ctx.Err() }
			},
			func(*int) error { return nil })
	}()
	<-started
	cancel()
	select {
	case err := <-ended:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("it goes on")
	}
}

// TestPassReadsEveryRecord: over several files and chunks, the records come in
// the order of the files, and what was read is told by its SHA-256.
func TestPassReadsEveryRecord(t *testing.T) {
	dir := t.TempDir()
	rule := &extract.FileRule{Format: extract.FHIRNDJSON}
	var files []extract.File
	var want []string
	for f := range 3 {
		var text strings.Builder
		for n := range 6000 {
			id := fmt.Sprintf("E-%d-%d", f, n)
			want = append(want, id)
			fmt.Fprintf(&text, `{"resourceType":"Encounter","id":"%s","status":"finished","subject":{"reference":"Patient/p%s"},"period":{"start":"2026-01-01"},"text":{"div":"%s"}}`+"\n", id, id, strings.Repeat("x", 100))
		}
		path := filepath.Join(dir, fmt.Sprintf("%d.ndjson", f))
		if err := os.WriteFile(path, []byte(text.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		file, err := extract.FileAt(path, rule)
		if err != nil {
			t.Fatal(err)
		}
		file.Index = f
		files = append(files, file)
	}
	for _, workers := range []int{1, 3} {
		var got []string
		chunks := 0
		sums, err := pass(context.Background(), files, workers,
			func() func(*extract.Chunk, *[]string) (*[]string, error) {
				scanner, rec := extract.NewScanner(), new(extract.Record)
				return func(c *extract.Chunk, old *[]string) (*[]string, error) {
					ids := new([]string)
					for scanner.Reset(c); scanner.Next(rec); {
						*ids = append(*ids, string(rec.Facts.ID))
					}
					return ids, nil
				}
			},
			func(_ *extract.Chunk, ids *[]string) error { got, chunks = append(got, *ids...), chunks+1; return nil })
		if err != nil || !slices.Equal(got, want) || chunks < 4 {
			t.Fatalf("%d workers: %d records of %d in %d chunks, %v", workers, len(got), len(want), chunks, err)
		}
		for i, sum := range sums {
			raw, err := os.ReadFile(files[i].Path)
			if err != nil || sum.SHA256 != fmt.Sprintf("%x", sha256.Sum256(raw)) {
				t.Errorf("file %d: %s, %v", i, sum.SHA256, err)
			}
		}
	}
}
