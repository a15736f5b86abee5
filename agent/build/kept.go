package build

import (
	"encoding/binary"
	"errors"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
)

// keptFacts is what stands before the facts of a held row.
type keptFacts struct {
	part2          bool
	programs, only [8]byte
	facts          []byte // as consent.AppendFacts wrote them
}

func (c *changes) toKeep(o *outcome, facts []byte) []byte {
	b := []byte{0}
	if o.part2 {
		b[0] = 1
	}
	only := c.only[o.dataset]
	return append(append(append(b, c.programs[:]...), only[:]...), facts...)
}

func readKept(b []byte, f *extract.Facts, people *consent.People) (k keptFacts, err error) {
	if len(b) < 17 {
		return k, errors.New("what is kept of a held row is cut short")
	}
	k.part2, k.programs, k.only, k.facts = b[0] == 1, [8]byte(b[1:]), [8]byte(b[9:]), b[17:]
	_, err = consent.ReadFacts(k.facts, f, people)
	return k, err
}

// frames is a list of rows in the spill, encrypted.
type frames struct {
	spill *spill
	at    []int
	n     int64
	open  []byte
}

const keptHeader = 1 + 8 + 8 + 16 + 4 + deid.CodeLen + 16 + 16 + 4

func (f *frames) add(k *Kept) error {
	b := append(f.open, k.Action[0])
	b = binary.LittleEndian.AppendUint64(b, uint64(k.ID))
	b = binary.LittleEndian.AppendUint64(b, uint64(k.Epoch))
	b = append(b, k.Record[:]...)
	b = binary.LittleEndian.AppendUint32(b, k.Line)
	b = append(b, k.Key...)
	b = append(append(b, k.Content[:]...), k.Basis[:]...)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(k.Facts)))
	f.open, f.n = append(b, k.Facts...), f.n+1
	if len(f.open) < frameSize {
		return nil
	}
	return f.flush()
}

func (f *frames) flush() error {
	frame, err := f.spill.write(f.open)
	f.at, f.open = append(f.at, frame), f.open[:0]
	return err
}

// each gives all rows in their order. Nothing can be added any more.
func (f *frames) each(see func(*Kept) error) error {
	if err := f.flush(); err != nil {
		return err
	}
	var text []byte
	for _, frame := range f.at {
		var err error
		if text, err = f.spill.read(frame, text); err != nil {
			return err
		}
		for b := text; len(b) > 0; {
			k := Kept{Action: actionOf(b[0])}
			k.ID, k.Epoch = int64(binary.LittleEndian.Uint64(b[1:])), int64(binary.LittleEndian.Uint64(b[9:]))
			k.Record, k.Line = [16]byte(b[17:]), binary.LittleEndian.Uint32(b[33:])
			k.Key, k.Content = string(b[37:37+deid.CodeLen]), [16]byte(b[37+deid.CodeLen:])
			k.Basis = [16]byte(b[53+deid.CodeLen:])
			size := int(binary.LittleEndian.Uint32(b[keptHeader-4:]))
			k.Facts, b = b[keptHeader:keptHeader+size], b[keptHeader+size:]
			if err := see(&k); err != nil {
				return err
			}
		}
	}
	return nil
}

func actionOf(letter byte) string {
	for _, action := range actions {
		if action[0] == letter {
			return action
		}
	}
	return Refresh
}
