package transfer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"filippo.io/age/armor"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
	"github.com/klauspost/compress/zstd"
)

func (m *vectorMaker) badFiles() []vector {
	lies := func(name, about, file string, edit func(files map[string][]byte)) vector {
		v := bad(name, about, func(d *draft) { d.lies = edit })
		v.file = file
		return v
	}
	class := func(class Class, list ...vector) []vector {
		for i, v := range list {
			list[i] = of(class, v.file, "first", "", v)[0]
		}
		return list
	}
	flipped := func(file string) func(map[string][]byte) {
		return func(files map[string][]byte) { // a slice of its own: the one that it is like keeps its bytes
			text := bytes.Clone(files[x7+file])
			text[len(text)/2] ^= 1
			files[x7+file] = text
		}
	}
	cut := func(file string, left int) func(map[string][]byte) {
		return func(files map[string][]byte) { files[x7+file] = files[x7+file][:left] }
	}
	return slices.Concat(
		class(FileMismatch,
			lies("part-changed", "one bit of a part is another", part1, flipped(part1)),
			lies("part-longer", "a part has a byte more", part3, func(files map[string][]byte) { files[x7+part3] = append(bytes.Clone(files[x7+part3]), 0) }),
			lies("parts-swapped", "two parts of one length lie under each other's names", part1, func(files map[string][]byte) {
				files[x7+part1], files[x7+part2] = files[x7+part2], files[x7+part1]
			}),
			lies("part-of-another", "a part of another drop, of the same length", part1, func(files map[string][]byte) {
				files[x7+part1] = m.make("next")["cv.x7.000002."+part1]
			})),
		class(Truncated,
			lies("part-cut", "the last byte of a part is missing", part1, func(files map[string][]byte) {
				files[x7+part1] = files[x7+part1][:len(files[x7+part1])-1]
			}),
			lies("part-empty", "a part has no bytes", part2, cut(part2, 0)),
			lies("book-cut", "the book ends after 200 bytes", bookFile, cut(bookFile, 200))))
}

func (m *vectorMaker) badEncryption() []vector {
	part := func(name, about string, edit func([]byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.sealed[part1] = edit })
	}
	flipped := func(at func(file []byte) int) func([]byte) []byte {
		return func(file []byte) []byte { file[at(file)] ^= 1; return file }
	}
	other := []Recipient{ageKey(m.t, otherKey)}
	inside := func(name, about string, edit func(packed []byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.packed[1] = edit })
	}
	return slices.Concat(
		of(DecryptFailed, part1, "first", "",
			part("age-header", "a bit of the header's MAC is another", flipped(func(file []byte) int { return bytes.Index(file, []byte("\n--- ")) + 10 })),
			part("age-payload", "a bit of the payload is another", flipped(func(file []byte) int { return len(file) - 100 })),
			part("age-cut", "the last byte is missing", func(file []byte) []byte { return file[:len(file)-1] }),
			part("age-cut-header", "it ends within the header", func(file []byte) []byte { return file[:100] }),
			part("age-longer", "bytes follow the last chunk", func(file []byte) []byte { return append(file, "more"...) }),
			part("age-armor", "it is armored", func(file []byte) []byte {
				var out bytes.Buffer
				w := armor.NewWriter(&out)
				_, err := w.Write(file)
				must(m.t, err)
				must(m.t, w.Close())
				return out.Bytes()
			}),
			part("age-none", "it is not encrypted", func([]byte) []byte { return pad(m.t, pack(m.t, vectorScores)) }),
			part("age-passphrase", "it is encrypted to a passphrase", func([]byte) []byte {
				to, err := age.NewScryptRecipient("postern")
				must(m.t, err)
				to.SetWorkFactor(4)
				return m.seal("passphrase", pad(m.t, pack(m.t, vectorScores)), []Recipient{{Key: to, kind: ageClassic}})
			}),
			part("age-other-key", "a part is encrypted to a key of another", func([]byte) []byte {
				return m.seal("other", pad(m.t, pack(m.t, vectorScores)), other)
			}),
			inside("zstd-none", "what is encrypted is not compressed", func([]byte) []byte { return []byte(vectorScores) }),
			inside("zstd-gzip", "what is encrypted is compressed by gzip", func([]byte) []byte { return zipped(m.t, vectorScores) }),
			inside("zstd-checksum", "the checksum of the frame is another", func([]byte) []byte {
				packed := pack(m.t, vectorScores)
				packed[len(packed)-1] ^= 1
				return pad(m.t, packed)
			}),
			inside("zstd-window", "the frame needs a window of 16 MiB", func([]byte) []byte { return pad(m.t, wideFrame(vectorScores)) }),
			inside("zstd-more", "bytes that are no frame follow", func(packed []byte) []byte { return append(packed, "more"...) })),
		of(DecryptFailed, bookFile, "first", "",
			bad("book-other-key", "the book is encrypted to a key of another", func(d *draft) { d.bookKeys = other })),
		of(Truncated, part1, "first", "",
			inside("zstd-cut", "the compressed stream ends too early", func([]byte) []byte {
				packed := pack(m.t, vectorScores)
				return packed[:len(packed)-6]
			}),
			inside("zstd-nothing", "what is encrypted has no bytes", func([]byte) []byte { return nil }),
			inside("zstd-padding-cut", "the padding ends too early", func(packed []byte) []byte { return packed[:len(packed)-1] })))
}

// badOpenPGP has what a message of OpenPGP may not be.
func (m *vectorMaker) badOpenPGP() []vector {
	part := func(name, about string, edit func([]byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.sealed["001.zst.pgp"] = edit })
	}
	plain := pad(m.t, pack(m.t, vectorScores))
	return of(DecryptFailed, "001.zst.pgp", "openpgp", "",
		part("openpgp-changed", "a bit of the message is another", func(file []byte) []byte { file[len(file)-100] ^= 1; return file }),
		part("openpgp-cut", "the last byte is missing", func(file []byte) []byte { return file[:len(file)-1] }),
		part("openpgp-armor", "it is armored", func(file []byte) []byte {
			text, err := armored("PGP MESSAGE", func(w io.Writer) error { _, err := w.Write(file); return err })
			must(m.t, err)
			return text
		}),
		part("openpgp-literal", "it is a message that is not encrypted", func([]byte) []byte {
			var out bytes.Buffer
			w, err := packet.SerializeLiteral(unclosed{&out}, true, "", 0)
			must(m.t, err)
			_, err = w.Write(plain)
			must(m.t, err)
			must(m.t, w.Close())
			return out.Bytes()
		}),
		part("openpgp-age", "it is an age file", func([]byte) []byte { return m.seal("age", plain, []Recipient{ageKey(m.t, payerKey)}) }))
}

type unclosed struct{ io.Writer }

func (unclosed) Close() error { return nil }

// badRecalls are recalls that are not to be believed.
func (m *vectorMaker) badRecalls() []vector {
	const document, signature = "recall-1.json.age", "recall-1.json.sig"
	by := func(name, about, signer, namespace string) vector {
		return bad(name, about, func(d *draft) {
			d.signature = func(text []byte) []byte { return signedBy(m.t, vectorSigner(signer), namespace, text) }
		})
	}
	return slices.Concat(
		of(MissingFile, document, "recall", "first", bad("recall-missing", "its document is not there", func(d *draft) {
			d.lies = func(files map[string][]byte) { delete(files, x7+document) }
		})),
		of(SignatureInvalid, signature, "recall", "first", by("recall-namespace", "signed in the namespace of drops", "clearview", DropNamespace)),
		of(SignerUnknown, signature, "recall", "first", by("recall-stranger", "signed by a key that is not allowed", "stranger", RecallNamespace)),
		of(SignerNotSender, signature, "recall", "first", by("recall-other-signer", "signed by another sender", "lakeside", RecallNamespace)),
		of(Fork, document, "recall", "other-first", bad("recall-other-manifest", "it recalls another manifest than the one accepted", nil)),
		of(NameTaken, document, "recall", "other-sender", bad("recall-other-code", "the short code is another sender's", nil)),
		of(FormatFault, document, "recall", "first", bad("recall-rows", "its rows are not in order", func(d *draft) {
			d.recall.Rows = []string{"k3vq8w1m6z0t4n7x2r5d", "b9f2h6j1p8s4c7m3y0wq"}
		})))
}

func zipped(t testing.TB, text string) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	_, err := w.Write([]byte(text))
	must(t, err)
	must(t, w.Close())
	return out.Bytes()
}

// wideFrame is a frame of one raw block that asks for a window of 16 MiB
// (RFC 8878 §3.1.1.1.2: exponent 14, mantissa 0).
func wideFrame(text string) []byte {
	frame := []byte{0x28, 0xb5, 0x2f, 0xfd, 0x00, 14 << 3}
	header := binary.LittleEndian.AppendUint32(nil, uint32(len(text))<<3|1)
	return append(append(frame, header[:3]...), text...)
}

func (m *vectorMaker) badContents() []vector {
	part := func(name, about string, n int, text string) vector {
		return bad(name, about, func(d *draft) {
			d.packed[n] = func([]byte) []byte { return pad(m.t, pack(m.t, text)) }
		})
	}
	book := func(name, about string, edit func(*BookPart)) vector {
		return bad(name, about, func(d *draft) { d.onBook = func(b *Book) { edit(&b.Parts[2]) } })
	}
	longer, err := zstd.NewWriter(nil)
	must(m.t, err)
	return slices.Concat(
		of(RowCount, part1, "first", "",
			part("rows-fewer", "a part has one row instead of three", 1, vectorOneScore),
			part("rows-none", "a part has not even its header line", 1, ""),
			part("rows-unended", "the last line does not end in a newline", 1, strings.TrimSuffix(vectorScores, "\n"))),
		of(RowCount, part3, "first", "",
			book("book-row-more", "the book says one row more than there is", func(p *BookPart) { p.Rows++ })),
		of(RowCount, part3, "layouts", "",
			part("rows-no-trailer", "a part of lines+trailer has no trailer", 3, "M1,11\n")),
		of(PlaintextFault, part1, "first", "",
			part("text-other", "one value is another", 1, strings.Replace(vectorScores, ",11\n", ",12\n", 1)),
			part("text-longer", "a part is longer than the book says", 1, vectorScores+vectorScores),
			part("text-crlf", "its lines end in CR LF", 1, strings.ReplaceAll(vectorScores, "\n", "\r\n")),
			bad("text-bomb", "a part of few bytes opens to 64 MiB", func(d *draft) {
				d.packed[1] = func([]byte) []byte { return pad(m.t, longer.EncodeAll(make([]byte, 64<<20), nil)) }
			})),
		of(PlaintextFault, part3, "first", "",
			book("book-byte-more", "the book says one byte more than there is", func(p *BookPart) { p.PlaintextBytes++ })))
}

// badOrder has drops that are good where something else was received before.
func (m *vectorMaker) badOrder() []vector {
	after := func(class Class, like, before, name, about string) vector {
		return vector{name, string(class), manifestFile, like, before, about, nil}
	}
	return []vector{
		after(SequenceGap, "next", "", "gap-first", "number 2, and number 1 never arrived"),
		after(SequenceGap, "voids", "first", "gap-before-void", "number 4 voids 3, and number 2 never arrived"),
		after(SequenceGap, "withdraws", "first", "gap-before-voids", "number 5 voids 3 and 4, and number 2 never arrived"),
		after(Fork, "other-first", "first", "fork-first", "number 1 once more, with other rows"),
		after(Fork, "first", "other-first", "fork-first-too", "the same the other way round: nobody knows which is the sender's"),
		after(Fork, "changes", "first next", "fork-next", "number 2 once more, with other parts"),
		after(Fork, "next", "other-first", "fork-past", "number 2 names a number 1 that was not the one accepted"),
		after(Voided, "voids", "first next withdraws", "void-late", "number 4 arrives after number 5 said that it is void"),
		after(Voided, "voids", "first next voids withdraws", "void-again", "number 4, once accepted, arrives again after number 5 voided it"),
		after(Voided, "next", "late-start", "void-first", "number 2 arrives after number 3 said that it is void"),
	}
}

func (m *vectorMaker) badLedgers() []vector {
	clearview := newVectorLedger(m.t, "clearview", "entry")
	at := func(name, about string, ledger func() Ledger) vector {
		return bad(name, about, func(d *draft) { d.book.Ledger = ledger() })
	}
	changed := func(edit func(*Ledger)) func() Ledger {
		return func() Ledger {
			l := clearview.at(m.t, 3, 5)
			edit(&l)
			return l
		}
	}
	return of(LedgerFault, bookFile, "next", "first",
		at("ledger-rewritten", "an entry of before is another", func() Ledger { return newVectorLedger(m.t, "clearview", "other").at(m.t, 3, 5) }),
		at("ledger-shorter", "the log has fewer entries than before", func() Ledger { return clearview.at(m.t, 0, 2) }),
		at("ledger-no-proof", "the proof is not there", changed(func(l *Ledger) { l.Proof = nil })),
		at("ledger-other-key", "the checkpoint is signed by another key", func() Ledger { return newVectorLedger(m.t, "lakeside", "entry").at(m.t, 3, 5) }))
}
