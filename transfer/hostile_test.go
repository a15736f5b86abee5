package transfer

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/posternhealth/postern/transfer/sftptest"
)

// What a server or a sender calls things is shown on terminals: nothing of it may
// move the cursor, or begin a line of its own.
func TestWordsOfOthersAreShownAsTheyAre(t *testing.T) {
	shown := func(what, text string) {
		t.Helper()
		if strings.ContainsFunc(text, unicode.IsControl) {
			t.Errorf("%s: %q", what, text)
		}
	}
	t.Run("server", func(t *testing.T) {
		_, c := mailbox(t, sftptest.Options{Version: "SSH-2.0-\u009b2J"})
		shown("version", dial(t, c).use.Server)
	})
	t.Run("inbox", func(t *testing.T) {
		w := newWorld(t)
		spec := w.spec(t, 1, "")
		inbox := copyDrop(t, spec.Dir, seal(t, spec))
		must(t, os.WriteFile(filepath.Join(inbox, "cv.x7.000001.\x1b[2J\n"), nil, 0o600))
		got := receiveOne(t, w.receiver(t), inbox)
		if got.Fault == nil || got.Fault.Class != UnlistedFile {
			t.Fatalf("%+v", got)
		}
		shown("file", got.Fault.File)
		shown("fault", got.Fault.Error())
	})
}

// A list without end ends, and says so; one that has an end does, however much
// else went over the line.
func TestEndlessList(t *testing.T) {
	for _, endless := range []bool{true, false} {
		_, c := mailbox(t, sftptest.Options{Endless: endless})
		bounded := usualPace
		bounded.list = 256 << 10
		d, err := dialSFTP(t.Context(), c, bounded)
		must(t, err)
		defer d.Close()
		if !endless {
			for range 2 {
				_, err := d.Deliver(t.Context(), bigDrop(t, 300<<10), quiet) // which is read back
				must(t, err)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err = d.Receipts(ctx, t.TempDir(), func(string) bool { return false })
		if (err != nil) != endless || endless && !strings.Contains(err.Error(), "no end within") {
			t.Errorf("%v", err)
		}
	}
}

// A server whose line lives and that answers no request, as one whose disk hangs, is
// given up.
func TestServerThatHangs(t *testing.T) {
	_, c := mailbox(t, sftptest.Options{Hang: []string{"List"}})
	quick := usualPace
	quick.keepalive, quick.answer = 10*time.Millisecond, 200*time.Millisecond
	d, err := dialSFTP(t.Context(), c, quick)
	must(t, err)
	defer d.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if _, err := d.Receipts(ctx, t.TempDir(), func(string) bool { return false }); !errors.Is(err, ErrDestination) || ctx.Err() != nil || !strings.Contains(err.Error(), "the connection was lost") {
		t.Errorf("%v", err)
	}
}

// Who can write to the inbox waits until all files were found to be the signed ones,
// and lays a book and rows of their own in their place.
func TestInboxChangesWhileItIsRead(t *testing.T) {
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	inbox := copyDrop(t, spec.Dir, seal(t, spec))
	r := w.receiver(t)
	must(t, r.prepare())
	text, err := os.ReadFile(filepath.Join(inbox, "cv.x7.000001.manifest.json"))
	must(t, err)
	m, err := ParseManifest(text)
	must(t, err)
	true1, err := r.open(t.Context(), inbox, m, "")
	must(t, err)
	true1.discard()
	must(t, verifyFiles(t.Context(), inbox, m))
	forged, book := strings.Replace(scoresCSV, "19", "27", 1), *true1.book
	book.Parts = slices.Clone(book.Parts)
	book.Parts[0].PlaintextSHA256 = sumOf([]byte(forged))
	plain, err := encodePadded(&book)
	must(t, err)
	w.reseal(t, inbox, m.book().Name, plain)
	w.reseal(t, inbox, m.Files[0].Name, pack(t, forged))
	o, err := r.open(t.Context(), inbox, m, "")
	if classOf(err) != FileMismatch {
		t.Errorf("%+v %v", o, err)
	}
	if left, err := filepath.Glob(filepath.Join(r.Dir, ".*.part")); err != nil || len(left) > 0 {
		t.Errorf("plaintext is left: %v %v", left, err)
	}
}
