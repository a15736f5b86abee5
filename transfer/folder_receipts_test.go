package transfer

import (
	"errors"
	"path/filepath"
	"testing"
)

// A recipient that answers nothing has no folder of receipts; its folder of
// drops must be there all the same.
func TestFolderWithoutReceipts(t *testing.T) {
	dir := t.TempDir()
	if _, err := NewFolder(dir, ""); err != nil {
		t.Error(err)
	}
	for _, folders := range [][2]string{{"", ""}, {filepath.Join(dir, "none"), ""}, {dir, filepath.Join(dir, "none")}} {
		if _, err := NewFolder(folders[0], folders[1]); !errors.Is(err, ErrDestination) {
			t.Errorf("%q: %v", folders, err)
		}
	}
}
