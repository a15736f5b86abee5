package build

import (
	"bytes"
	"cmp"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
)

func TestSpillGivesBackItsFrames(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := newSpill(tempDir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		var frames [][]byte
		var buf []byte
		t.Repeat(map[string]func(*rapid.T){
			"write": func(t *rapid.T) {
				frame := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte")}, rapid.IntRange(0, 70000).Draw(t, "size"))
				n, err := s.write(frame)
				if err != nil || n != len(frames) {
					t.Fatalf("frame %d: %d, %v", len(frames), n, err)
				}
				frames = append(frames, frame)
			},
			"read": func(t *rapid.T) {
				if len(frames) == 0 {
					return
				}
				n := rapid.IntRange(0, len(frames)-1).Draw(t, "n")
				if buf, err = s.read(n, buf); err != nil || !bytes.Equal(buf, frames[n]) {
					t.Fatalf("frame %d came back as %d bytes (%v), it had %d", n, len(buf), err, len(frames[n]))
				}
			},
		})
	})
}

// TestSpillShowsNothing: no plaintext reaches the file, the file has no name
// while it is in use, and a changed byte is noticed.
func TestSpillShowsNothing(t *testing.T) {
	dir := t.TempDir()
	s, err := newSpill(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	plain := []byte(strings.Repeat("Hope Nightingale, MR10-0001; ", 20000))
	for range 2 {
		if _, err := s.write(plain); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.read(1, nil); err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "*")); len(left) > 0 {
		t.Errorf("a spill file has a name: %v", left)
	}
	raw := make([]byte, s.end)
	if _, err := s.file.ReadAt(raw, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if bytes.Contains(raw, []byte("Nightingale")) {
		t.Error("plaintext is on the disk")
	}
	if size := len(raw) / 2; bytes.Equal(raw[:size], raw[size:]) {
		t.Error("equal frames are equal on the disk")
	}
	raw[100] ^= 1
	if _, err := s.file.WriteAt(raw[100:101], 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.read(0, nil); err == nil || bytes.Contains([]byte(err.Error()), []byte("Nightingale")) {
		t.Errorf("a changed byte: %v", err)
	}
	if _, err := s.read(1, nil); err != nil {
		t.Errorf("the other frame: %v", err)
	}
	if err := s.close(); err != nil {
		t.Error(err)
	}
	if _, err := newSpill(filepath.Join(dir, "absent")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a spill file in no folder: %v", err)
	}
}

func anyRow(t *rapid.T) row {
	r := row{
		subject: consent.Subject(rapid.Uint32().Draw(t, "subject")), self: rapid.Uint64().Draw(t, "self"), only: rapid.Bool().Draw(t, "only"),
		place: extract.Place{File: rapid.IntRange(0, 1<<31).Draw(t, "file"), Line: rapid.Int64Range(1, 1<<60).Draw(t, "line"), Entry: rapid.IntRange(0, 1<<31).Draw(t, "entry")},
		rank:  rapid.Uint64Range(0, 40).Draw(t, "rank") << 57, // few buckets, several people in each
		bytes: []byte(rapid.StringN(0, 400, -1).Draw(t, "bytes")),
	}
	for range rapid.IntRange(0, 3).Draw(t, "holes") {
		r.holes = append(r.holes, deid.Hole{Kind: deid.Reference, Start: rapid.Uint32().Draw(t, "start"), End: rapid.Uint32().Draw(t, "end"), Ref: rapid.Uint64().Draw(t, "ref")})
	}
	for range rapid.IntRange(0, 3).Draw(t, "several") {
		r.several = append(r.several, consent.Subject(rapid.Uint32().Draw(t, "one of several")))
	}
	return r
}

// spooled is what comes out of a spool, in order.
func spooled(t interface{ Fatal(...any) }, p *partSpool) (out []row) {
	next := p.reader()
	var b rowBatch
	for {
		err := next(&b)
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range b.rows {
			r.bytes, r.holes = append([]byte{}, r.bytes...), append([]deid.Hole(nil), r.holes...)
			r.several = append([]consent.Subject(nil), r.several...)
			out = append(out, r)
		}
	}
}

// TestSpoolKeepsOrder holds the spool, which splits into frames and buckets,
// against a stable sort of a slice.
func TestSpoolKeepsOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, err := newSpill(tempDir)
		if err != nil {
			t.Fatal(err)
		}
		defer s.close()
		shuffled := rapid.Bool().Draw(t, "shuffled")
		p := newPartSpool("scores", false, nil, s, shuffled)
		distinct := rapid.SliceOfN(rapid.Custom(anyRow), 0, 60).Draw(t, "rows")
		times := rapid.SampledFrom([]int{1, 40, 200}).Draw(t, "times") // beyond one frame
		var want []row
		for range times {
			for _, r := range distinct {
				r.place.Line = int64(len(want) + 1)
				want = append(want, r)
				if err := p.add(&r); err != nil {
					t.Fatal(err)
				}
			}
		}
		if shuffled {
			slices.SortStableFunc(want, func(a, b row) int { return cmp.Compare(a.rank, b.rank) })
		}
		got := spooled(t, p)
		if len(got) != len(want) {
			t.Fatalf("%d rows, %d went in", len(got), len(want))
		}
		for i := range want {
			if len(want[i].bytes) == 0 {
				want[i].bytes = []byte{}
			}
			if !reflect.DeepEqual(got[i], want[i]) {
				t.Fatalf("row %d: %+v, want %+v", i, got[i], want[i])
			}
		}
	})
}

// TestSpoolTakesRowsOfAnySize: a resource of 16 MiB has room for hundreds of
// thousands of references.
func TestSpoolTakesRowsOfAnySize(t *testing.T) {
	s, err := newSpill(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	p := newPartSpool("List", false, nil, s, false)
	large := row{bytes: bytes.Repeat([]byte("x"), extract.MaxRecord)}
	for i := range 300000 {
		large.holes = append(large.holes, deid.Hole{Kind: deid.Reference, Start: uint32(i), End: uint32(i + 1), Ref: uint64(i)})
	}
	small := row{bytes: []byte("small\n")}
	for _, r := range []*row{&small, &large, &small} {
		if err := p.add(r); err != nil {
			t.Fatal(err)
		}
	}
	got := spooled(t, p)
	if len(got) != 3 || !reflect.DeepEqual(got[1].holes, large.holes) || !bytes.Equal(got[1].bytes, large.bytes) || string(got[2].bytes) != "small\n" {
		t.Fatalf("%d rows came back, or not as they were", len(got))
	}
}
