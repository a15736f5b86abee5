package transfer

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
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

// Answers that are written, or taken away, while we read keep back no other.
func TestAnswersThatAreWritten(t *testing.T) {
	destinations(t, func(t *testing.T, d Destination, _, receipts string, _ State) {
		lay := func(name, text string) { must(t, os.WriteFile(filepath.Join(receipts, name), []byte(text), 0o644)) }
		for _, name := range []string{"1.grows", "2.goes", "3.stays"} {
			lay(name, "text")
			must(t, os.Chtimes(filepath.Join(receipts, name), time.Time{}, time.Unix(int64(name[0]), 0)))
		}
		want := func(e fs.FileInfo) bool {
			switch e.Name() {
			case "1.grows":
				lay(e.Name(), "text and more")
			case "2.goes":
				must(t, os.Remove(filepath.Join(receipts, e.Name())))
			}
			return true
		}
		var got []string
		must(t, d.Responses(t.Context(), want, func(name string, from io.Reader) error {
			_, err := io.ReadAll(from)
			cut := new(ReceiptError)
			if errors.As(err, &cut) && (cut.Name != name || !cut.Cut || cut.Written.Unix() != int64(name[0])) {
				t.Errorf("%s: %+v", name, cut)
			}
			got = append(got, fmt.Sprint(name, " ", errors.As(err, &cut)))
			return nil
		}))
		if fmt.Sprint(got) != "[1.grows true 2.goes true 3.stays false]" {
			t.Errorf("responses: %v", got)
		}

		for i, text := range []string{`{"status":"acc`, "{}", "{}", "{}"} {
			name := fmt.Sprintf("cv.x7.%06d.receipt.json", i+1)
			lay(name, text)
			lay(name+".sig", string(endOfSignature))
		}
		lay("cv.x7.000002.receipt.json.sig", string(endOfSignature[:9]))
		names, err := d.Receipts(t.Context(), t.TempDir(), func(name string) bool {
			if strings.Contains(name, "000003") {
				lay(name, "{}\n")
			}
			return false
		})
		var wrong ReceiptErrors
		if !errors.As(err, &wrong) || fmt.Sprint(names) != "[cv.x7.000004.receipt.json]" {
			t.Fatalf("receipts %v: %v", names, err)
		}
		for i, name := range []string{"cv.x7.000001.receipt.json", "cv.x7.000002.receipt.json.sig", "cv.x7.000003.receipt.json"} {
			if len(wrong) != 3 || wrong[i].Name != name || !wrong[i].Cut {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
