package transfer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// linesDrop has a part of each format of the recipient's own layouts.
func linesDrop(t *testing.T, w *world) (DropSpec, *Sealed, []string) {
	t.Helper()
	spec := w.spec(t, 1, "")
	b, err := NewDrop(spec)
	must(t, err)
	var texts []string
	for _, c := range []struct {
		header, trailer bool
		text            string
		rows            int64
	}{
		{false, false, "a  1\r\nb  2\r\n", 2}, {true, false, "\ufeffx|y\na|1\n", 1}, {false, true, "a,1\nTRL,1\n", 1}, {true, true, "x\ty\r\nTRL\t0\r\n", 0},
	} {
		for _, wrong := range []int64{c.rows + 1, c.rows - 1} {
			p, err := (&Builder{spec: spec, base: b.base, encoder: b.encoder}).Part(PartInfo{Dataset: "scores", Format: Lines(c.header, c.trailer), Columns: columns})
			must(t, err)
			_, err = p.Write([]byte(c.text))
			must(t, err)
			if err := p.Close(wrong, 0); err == nil || !strings.Contains(err.Error(), "a row must be one line") {
				t.Errorf("%d rows of %q: %v", wrong, c.text, err)
			}
		}
		p, err := b.Part(PartInfo{Dataset: "scores", Format: Lines(c.header, c.trailer), Columns: columns})
		must(t, err)
		_, err = p.Write([]byte(c.text))
		must(t, err)
		must(t, p.Close(c.rows, 1))
		texts = append(texts, c.text)
	}
	for _, info := range []PartInfo{{Dataset: "scores", Format: Lines(true, true)}, {Dataset: "scores", Format: "lines+trailer+header", Columns: columns}} {
		if _, err := b.Part(info); err == nil {
			t.Errorf("a part of %+v begins", info)
		}
	}
	sealed, err := b.Seal(usualBook())
	must(t, err)
	return spec, sealed, texts
}

// Parts in the recipient's own layout are counted by their lines, with a header
// and a trailer or without, by us and by stock tools.
func TestLinesOfLayouts(t *testing.T) {
	w := newWorld(t)
	spec, sealed, texts := linesDrop(t, w)
	inbox := copyDrop(t, spec.Dir, sealed)
	r := w.receiver(t)
	if got := receiveOne(t, r, inbox); got.Status != Accepted {
		t.Fatalf("%s, %v", got.Status, got.Fault)
	}
	for i, want := range texts {
		name := []string{"001.txt", "002.txt", "003.txt", "004.txt"}[i]
		found, err := filepath.Glob(filepath.Join(r.Dir, "*", "*"+name))
		if err != nil || len(found) == 0 {
			found, err = filepath.Glob(filepath.Join(r.Dir, "*", "*", "*"+name))
		}
		must(t, err)
		if len(found) != 1 {
			t.Fatalf("%s: %v", name, found)
		}
		got, err := os.ReadFile(found[0])
		must(t, err)
		if string(got) != want {
			t.Errorf("%s: %q", name, got)
		}
	}
}

func TestLinesWithStockTools(t *testing.T) {
	w := newWorld(t)
	s := newStockTools(t, w)
	spec, sealed, _ := linesDrop(t, w)
	if _, said, err := s.verify(t, copyDrop(t, spec.Dir, sealed), ""); err != nil || !strings.Contains(said, "4 rows of 4 people") {
		t.Errorf("%v\n%s", err, said)
	}
}
