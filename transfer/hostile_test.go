package transfer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
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
