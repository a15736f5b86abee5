package transfer

import (
	"strings"
	"testing"
)

// TestActionsOfParts: a part says what its rows do to those that are held, and a
// part of void rows has nothing but their keys.
func TestActionsOfParts(t *testing.T) {
	keys := []string{RowKeyColumn}
	for _, c := range []struct {
		name string
		part PartInfo
		good bool
	}{
		{"whole drop", PartInfo{Dataset: "scores", Format: CSV, Columns: columns}, true},
		{"added", PartInfo{Dataset: "scores", Format: CSV, Columns: columns, Action: Add}, true},
		{"changed, in a layout", PartInfo{Dataset: "scores", Format: Lines(false, false), Columns: columns, Action: Change}, true},
		{"void", PartInfo{Dataset: "scores", Format: CSV, Columns: keys, Action: Void, Part2: true}, true},
		{"void with more than keys", PartInfo{Dataset: "scores", Format: CSV, Columns: columns, Action: Void}, false},
		{"void in a layout", PartInfo{Dataset: "scores", Format: Lines(true, false), Columns: keys, Action: Void}, false},
		{"unknown", PartInfo{Dataset: "scores", Format: CSV, Columns: columns, Action: "delete"}, false},
		{"of no records", PartInfo{Dataset: Overlap, Format: CSV, Columns: columns, Action: Add}, false},
	} {
		w := newWorld(t)
		b, err := NewDrop(w.spec(t, 3, "", 1, 2))
		must(t, err)
		p, err := b.Part(c.part)
		must(t, err)
		_, err = p.Write([]byte(strings.Join(c.part.Columns, ",") + "\n"))
		must(t, err)
		rows := int64(0)
		if c.part.Format == Lines(false, false) {
			rows = 1
		}
		must(t, p.Close(rows, 0))
		if _, err := b.Seal(usualBook()); (err == nil) != c.good {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestReplacesIsEarlier: a drop can take the place of one before it only.
func TestReplacesIsEarlier(t *testing.T) {
	for replaces, good := range map[int64]bool{0: true, 1: true, 2: true, 3: false, 4: false, -1: false} {
		w := newWorld(t)
		b, err := NewDrop(w.spec(t, 3, "", 1, 2))
		must(t, err)
		book := usualBook()
		book.Replaces = replaces
		if _, err := b.Seal(book); (err == nil) != good {
			t.Errorf("replaces %d: %v", replaces, err)
		}
	}
}
