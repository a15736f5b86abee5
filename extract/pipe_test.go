//go:build unix

package extract

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// A pipe has no size that the listing could know; it is read to its end.
func TestPipeIsReadToItsEnd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe.ndjson")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	written := make(chan error, 1)
	go func() { written <- os.WriteFile(path, []byte(`{"resourceType":"Organization","id":"o1"}`+"\n"), 0) }()
	file, err := FileAt(path, &FileRule{Format: FHIRNDJSON})
	if err != nil {
		t.Fatal(err)
	}
	reader := OpenChunks([]File{file})
	defer reader.Close()
	chunks := 0
	for chunk := new(Chunk); ; chunks++ {
		if err := reader.Next(chunk); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	if err := <-written; err != nil || chunks != 1 {
		t.Errorf("%d chunks, writer: %v", chunks, err)
	}
}
