package transfer

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// A part that is ended when no more fits has a file that is not longer than it may
// be, nor much shorter, whatever packs and encrypts it.
func TestFilesOfALength(t *testing.T) {
	const most = 4_000_000
	w := newWorld(t)
	old, modern := w.envelope(t, newPGP(t, nil)), w.envelope(t, newPGP(t, func(c *packet.Config) {
		c.V6Keys, c.Algorithm, c.AEADConfig = true, packet.PubKeyAlgoEd25519, &packet.AEADConfig{DefaultMode: packet.AEADModeGCM}
	}))
	bare := func(compression string) *Bare {
		return &Bare{Compression: compression, Name: func(dataset string, part int64) (string, error) { return fmt.Sprintf("%s.%d", dataset, part), nil }}
	}
	for name, c := range map[string]struct {
		envelope *Envelope
		bare     *Bare
	}{
		"age": {}, "age, none": {bare: bare(Uncompressed)}, "age, gzip": {bare: bare(Gzip)}, "age, zip": {bare: bare(Zip)}, "age, zstd": {bare: bare(Zstd)},
		"OpenPGP": {envelope: old}, "OpenPGP, modern": {envelope: modern}, "OpenPGP, none": {envelope: modern, bare: bare(Uncompressed)},
	} {
		spec := w.spec(t, 1, "")
		spec.MaxFile, spec.Bare = most, c.bare
		if c.envelope != nil {
			spec.Envelope = c.envelope
		}
		b, err := NewDrop(spec)
		must(t, err)
		random, line := rand.NewChaCha8([32]byte{1}), make([]byte, 300)
		for part := range 3 {
			p, err := b.Part(PartInfo{Dataset: "scores", Format: CSV, Columns: columns})
			must(t, err)
			out := bufio.NewWriterSize(p, 128<<10)
			_, err = out.WriteString(emptyCSV)
			must(t, err)
			rows := int64(0)
			for part < 2 && p.Fits(2*len(line)+1) {
				random.Read(line)
				out.WriteString(hex.EncodeToString(line) + "\n")
				rows++
			}
			must(t, out.Flush())
			must(t, p.Close(rows, 0))
			if size := b.files[part].Size; size > most || part < 2 && size < most*2/3 {
				t.Errorf("%s: a file has %d bytes", name, size)
			}
		}
		_, err = b.Seal(usualBook())
		must(t, err)
	}
	spec := w.spec(t, 1, "")
	spec.MaxFile = 1e6
	b, err := NewDrop(spec)
	must(t, err)
	p, err := b.Part(PartInfo{Dataset: "scores", Format: NDJSON})
	must(t, err)
	if !p.Fits(1) {
		t.Error("a limit that is too low to be held by ending a part ends it")
	}
}
