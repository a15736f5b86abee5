package extract

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A line is the one that an editor shows under the number, however long lines
// before it are and however the file is stored.
func TestLineOf(t *testing.T) {
	long := strings.Repeat("x", 200_000)
	text := "\uFEFFone\n" + long + "\nthree\r\n\nfive"
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	w.Write([]byte(text))
	w.Close()
	for name, stored := range map[string]string{"a.csv": text, "a.csv.gz": packed.String()} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(stored), 0o600); err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256([]byte(stored))
		for number, want := range []string{"", "one\n", long + "\n", "three\r\n", "\n", "five", ""} {
			line, digest, err := LineOf(path, int64(number))
			if err != nil || string([]byte(line)) != want || digest != hex.EncodeToString(sum[:]) {
				t.Errorf("%s: line %d has %d bytes, want %d; %v", name, number, len(line), len(want), err)
			}
		}
	}
}
