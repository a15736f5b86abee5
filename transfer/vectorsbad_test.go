package transfer

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
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

// Files of a drop by the ends of their names.
const (
	part1, part2, part3 = "001.zst.age", "002.zst.age", "003.zst.age"
	bookFile            = "book.json.age"
	sumsFile            = "SHA256SUMS"
	manifestFile        = "manifest.json"
	signatureFile       = "manifest.json.sig"
	doneFile            = "done"
)

// badVectors have one fault each.
func (m *vectorMaker) badVectors() []vector {
	return slices.Concat(m.badManifests(), m.badBooks(), m.badClearFiles(), m.badSignatures(), m.badParties(), m.badFiles(),
		m.badEncryption(), m.badOpenPGP(), m.badContents(), m.badOrder(), m.badLedgers(), m.badRecalls())
}

// swap replaces the one place where old stands.
func (m *vectorMaker) swap(old, new string) func([]byte) []byte {
	return func(text []byte) []byte {
		m.t.Helper()
		if bytes.Count(text, []byte(old)) != 1 {
			m.t.Fatalf("%q stands %d times in what is to have the fault", old, bytes.Count(text, []byte(old)))
		}
		return bytes.Replace(text, []byte(old), []byte(new), 1)
	}
}

// of makes vectors of one class and file that are like one other.
func of(class Class, file, like, before string, list ...vector) []vector {
	for i := range list {
		list[i].result, list[i].file, list[i].like, list[i].before = string(class), file, like, before
	}
	return list
}

// fault of a drop, by what is done to it.
func bad(name, about string, edit func(*draft)) vector {
	return vector{name: name, about: about, edit: edit}
}

// spelt is a manifest in another spelling, signed as it is.
func (m *vectorMaker) spelt(name, about, old, new string) vector {
	return bad(name, about, func(d *draft) { d.text = m.swap(old, new) })
}

// stated is a manifest that states something else than it may.
func stated(name, about string, edit func(*Manifest)) vector {
	return bad(name, about, func(d *draft) { d.manifest = edit })
}

func (m *vectorMaker) badManifests() []vector {
	hash := sumOf(nil)
	first := of(FormatFault, manifestFile, "first", "",
		stated("manifest-version", "format is postern-drop/v2", func(f *Manifest) { f.Format = "postern-drop/v2" }),
		m.spelt("manifest-space", "a space stands between two members", `,"sender"`, `, "sender"`),
		m.spelt("manifest-order", "recipient stands before sender", `"sender":"clearview","recipient":"acme-health-plan"`, `"recipient":"acme-health-plan","sender":"clearview"`),
		m.spelt("manifest-unknown-member", "a member that the format does not have", `"voids":[]`, `"voids":[],"period":"2026-06"`),
		m.spelt("manifest-missing-member", "voids is not there", `"voids":[],`, ``),
		m.spelt("manifest-member-twice", "one member stands twice", `"voids":[]`, `"voids":[],"voids":[]`),
		m.spelt("manifest-member-case", "a member's name begins with a capital", `"voids"`, `"Voids"`),
		m.spelt("manifest-null", "an empty list is written null", `"voids":[]`, `"voids":null`),
		m.spelt("manifest-escape", "a character is escaped that need not be", `acme-health`, `acme\u002dhealth`),
		m.spelt("manifest-number-as-text", "the number is a string", `"sequence":1`, `"sequence":"1"`),
		m.spelt("manifest-no-newline", "no newline stands at the end", "}\n", "}"),
		m.spelt("manifest-crlf", "the line ends in CR LF", "}\n", "}\r\n"),
		m.spelt("manifest-bom", "a byte order mark stands before it", `{"format"`, "\ufeff{\"format\""),
		m.spelt("manifest-second", "a second document follows", "}\n", "}\n{}\n"),
		stated("manifest-recipient-empty", "recipient is empty", func(f *Manifest) { f.Recipient = "" }),
		stated("manifest-recipient-path", "recipient is no name", func(f *Manifest) { f.Recipient = "../acme" }),
		stated("manifest-exchange", "exchange has a capital letter", func(f *Manifest) { f.Exchange = "X7" }),
		stated("manifest-sequence-zero", "the number is 0", func(f *Manifest) { f.Sequence = 0 }),
		stated("manifest-policy", "policy_sha256 has 63 digits", func(f *Manifest) { f.PolicySHA256 = f.PolicySHA256[1:] }),
		stated("manifest-no-keys", "recipient_keys is empty", func(f *Manifest) { f.RecipientKeys = nil }),
		stated("manifest-no-files", "files is empty", func(f *Manifest) { f.Files = nil }),
		stated("manifest-no-book", "the book is not among the files", func(f *Manifest) { f.Files = f.Files[:3] }),
		stated("manifest-book-first", "the book is not the last of the files", func(f *Manifest) { slices.Reverse(f.Files) }),
		stated("manifest-file-path", "a file's name leads out of the folder", func(f *Manifest) { f.Files[1].Name = "../" + f.Files[1].Name }),
		stated("manifest-capital-sum", "a SHA-256 is in capitals", func(f *Manifest) { f.Files[0].SHA256 = strings.ToUpper(f.Files[0].SHA256) }),
		stated("manifest-size-zero", "a file has no bytes", func(f *Manifest) { f.Files[0].Size = 0 }),
		bad("manifest-part-number", "parts are numbered 1, 2, 4", func(d *draft) {
			d.partName = func(base Base, n int) string { return base.part(n+n/3) + ageEnd }
		}),
		stated("manifest-other-number", "the manifest is that of number 2", func(f *Manifest) {
			f.Sequence, f.Previous = 2, hash
			for i := range f.Files {
				f.Files[i].Name = strings.Replace(f.Files[i].Name, "000001", "000002", 1)
			}
		}),
	)
	return slices.Concat(first,
		of(FormatFault, manifestFile, "next", "first",
			stated("manifest-previous", "previous is no SHA-256", func(f *Manifest) { f.Previous = "first" }),
			stated("manifest-no-previous", "previous is empty, and number 1 is not void", func(f *Manifest) { f.Previous = "" })),
		of(FormatFault, manifestFile, "voids", "first next",
			stated("manifest-voids-order", "voids descends", func(f *Manifest) { f.Voids = []int64{3, 2} }),
			stated("manifest-voids-itself", "the drop voids its own number", func(f *Manifest) { f.Voids = []int64{3, 4} })))
}

func (m *vectorMaker) badBooks() []vector {
	text := func(name, about, old, new string) vector {
		return bad(name, about, func(d *draft) {
			d.bookText = func(book []byte) []byte {
				size := len(book)
				book = m.swap(old, new)(book)
				if grown := len(book) - size; grown > 0 { // the padding takes it up
					book = append(bytes.TrimSuffix(book, bytes.Repeat([]byte(" "), grown)), book[len(book)-grown:]...)
				}
				return book
			}
		})
	}
	edit := func(name, about string, edit func(*Book)) vector {
		return bad(name, about, func(d *draft) { d.onBook = edit })
	}
	return of(FormatFault, bookFile, "first", "",
		edit("book-version", "format is book/v2", func(b *Book) { b.Format = "book/v2" }),
		edit("book-standard", "standard is none of the five", func(b *Book) { b.Standard = "anonymous" }),
		edit("book-no-columns", "a csv part has no columns", func(b *Book) { b.Parts[0].Columns = nil }),
		edit("book-rows-below-zero", "a part has -1 rows", func(b *Book) { b.Parts[1].Rows = -1 }),
		text("book-unknown-member", "a member that the format does not have", `"notices":[]`, `"withheld":1,"notices":[]`),
		bad("book-no-newline", "it does not end in a newline", func(d *draft) {
			d.bookText = func(book []byte) []byte { book[len(book)-1] = ' '; return book }
		}),
		bad("book-padding", "it is padded with zero bytes", func(d *draft) {
			d.bookText = func(book []byte) []byte { return bytes.ReplaceAll(book, []byte("  "), []byte{0, 0}) }
		}))
}

func (m *vectorMaker) badClearFiles() []vector {
	lines := func(edit func(lines []string) []string) func([]byte) []byte {
		return func(text []byte) []byte {
			return []byte(strings.Join(edit(strings.SplitAfter(strings.TrimSuffix(string(text), "\n"), "\n")), ""))
		}
	}
	changed := func(text []byte) []byte { // one digit of the first sum
		text[0] = map[bool]byte{true: '1', false: '0'}[text[0] == '0']
		return text
	}
	reversed := lines(func(l []string) []string {
		l[len(l)-1] += "\n"
		slices.Reverse(l)
		return l
	})
	shorter := lines(func(l []string) []string { return l[:len(l)-1] })
	marked := func(text []byte) []byte { return bytes.Replace(text, []byte("  "), []byte(" *"), 1) }
	capitals := func(text []byte) []byte { return append(bytes.ToUpper(text[:64]), text[64:]...) }
	sums := func(name, about string, edit func([]byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.sums = edit })
	}
	done := func(name, about string, edit func([]byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.done = edit })
	}
	gone := func(name, file string) vector {
		v := bad(name, file+" is not there", func(d *draft) {
			d.lies = func(files map[string][]byte) { delete(files, x7+file) }
		})
		return of(MissingFile, file, "first", "", v)[0]
	}
	more := func(name, file, about string) vector {
		v := bad(name, about, func(d *draft) {
			d.lies = func(files map[string][]byte) { files[x7+file] = []byte("more\n") }
		})
		return of(UnlistedFile, file, "first", "", v)[0]
	}
	return slices.Concat(
		of(SumsMismatch, sumsFile, "first", "",
			sums("sums-order", "its lines stand in another order", reversed),
			sums("sums-other", "one SHA-256 is another", changed),
			sums("sums-line-missing", "the book's line is missing", shorter),
			sums("sums-line-more", "it has a line more", func(text []byte) []byte { return appendSum(text, sumOf(nil), x7+"004.zst.age") }),
			sums("sums-binary", "it has the mark of binary mode", marked),
			sums("sums-capitals", "a SHA-256 is in capitals", capitals),
			bad("sums-in-transit", "it was changed after .done was written", func(d *draft) {
				d.lies = func(files map[string][]byte) { changed(files[x7+sumsFile]) }
			})),
		of(DoneMismatch, doneFile, "first", "",
			done("done-order", "its lines stand in another order", reversed),
			done("done-other", "the SHA-256 of SHA256SUMS is another", changed),
			done("done-line-missing", "the signature's line is missing", shorter),
			done("done-line-more", "it has a line more", func(text []byte) []byte { return appendSum(text, sumOf(nil), x7+doneFile) }),
			done("done-crlf", "its lines end in CR LF", func(text []byte) []byte { return bytes.ReplaceAll(text, newline, []byte("\r\n")) }),
			done("done-capitals", "a SHA-256 is in capitals", capitals)),
		[]vector{
			gone("missing-part", part2), gone("missing-book", bookFile), gone("missing-sums", sumsFile),
			gone("missing-manifest", manifestFile), gone("missing-signature", signatureFile),
			more("unlisted-part", "004.zst.age", "a part too many"),
			more("unlisted-note", "readme.txt", "a file of no kind of ours"),
			more("unlisted-half", "001.zst.age.part", "half an upload under a name that does not begin with a dot"),
			more("unlisted-receipt", "receipt.txt", "an answer under another name"),
		})
}

func (m *vectorMaker) badSignatures() []vector {
	key := vectorSigner("clearview")
	over := func(name, about string, sign func(text []byte) []byte) vector {
		return bad(name, about, func(d *draft) { d.signature = sign })
	}
	by := func(name, about, signer string) vector {
		return bad(name, about, func(d *draft) { d.signer = vectorSigner(signer) })
	}
	return slices.Concat(
		of(SignatureInvalid, signatureFile, "first", "",
			over("signature-namespace", "made in the namespace of receipts", func(text []byte) []byte { return signedBy(m.t, key, ReceiptNamespace, text) }),
			over("signature-other-text", "made over another manifest", func(text []byte) []byte {
				return signedBy(m.t, key, DropNamespace, m.swap(`"sequence":1`, `"sequence":2`)(text))
			}),
			over("signature-empty", "it is empty", func([]byte) []byte { return nil }),
			over("signature-bare", "it is not armored", func(text []byte) []byte {
				armored := strings.Split(strings.TrimSpace(string(signedBy(m.t, key, DropNamespace, text))), "\n")
				blob, err := base64.StdEncoding.DecodeString(strings.Join(armored[1:len(armored)-1], ""))
				must(m.t, err)
				return blob
			}),
			bad("signature-in-transit", "it was changed after .done was written", func(d *draft) {
				d.lies = func(files map[string][]byte) { files[x7+signatureFile][200] ^= 1 }
			}),
			bad("manifest-changed", "the manifest was changed after it was signed, and .done made anew", func(d *draft) {
				d.signature = func(text []byte) []byte {
					signature := signedBy(m.t, key, DropNamespace, text)
					copy(text, m.swap(`"x7","sequence":1`, `"x7","sequence":9`)(text))
					return signature
				}
			})),
		of(SignatureInvalid, manifestFile, "first", "",
			bad("manifest-in-transit", "it was changed after .done was written", func(d *draft) {
				d.lies = func(files map[string][]byte) {
					files[x7+manifestFile] = m.swap(`"x7","sequence":1`, `"x7","sequence":9`)(files[x7+manifestFile])
				}
			})),
		of(SignerUnknown, signatureFile, "first", "",
			by("signer-stranger", "by a key that is not allowed", "stranger"),
			by("signer-receipts", "by a key of the sender that is allowed for receipts alone", "clearview receipts"),
			by("signer-expired", "by a key of the sender that was allowed until 2020", "clearview 2019"),
			by("signer-early", "by a key of the sender that is allowed from 2100", "clearview 2100")),
		of(SignerNotSender, signatureFile, "first", "",
			by("sender-other-signer", "another sender signs in the name of the sender", "lakeside")),
		of(SignerNotSender, signatureFile, "other-sender", "",
			by("sender-other-name", "the sender signs in the name of another", "clearview")))
}

func (m *vectorMaker) badParties() []vector {
	to := func(name, about, recipient string) vector {
		return bad(name, about, func(d *draft) { d.head.Recipient = recipient })
	}
	return slices.Concat(
		of(NotForUs, manifestFile, "first", "",
			to("recipient-other", "for another recipient", "beta-health-plan"),
			to("recipient-case", "the recipient's name has a capital", "Acme-health-plan")),
		of(NameTaken, manifestFile, "other-sender", "first",
			bad("code-taken", "another sender uses the short code", nil)),
		of(NameTaken, manifestFile, "late-start", "other-sender",
			bad("code-taken-number", "another sender uses the short code, with a later number", nil)),
		of(BookMismatch, bookFile, "first", "",
			bad("book-signed-anew", "another sender, who is allowed, took the manifest and signed it in its own name", func(d *draft) {
				d.manifest, d.signer = func(f *Manifest) { f.Sender = "lakeside" }, vectorSigner("lakeside")
			}),
			bad("book-sequence", "the book names another number", func(d *draft) { d.onBook = func(b *Book) { b.Sequence = 2 } }),
			bad("book-part-more", "the book has a part that the manifest does not list", func(d *draft) {
				d.manifest = func(f *Manifest) { f.Files = slices.Delete(f.Files, 2, 3) }
				d.lies = func(files map[string][]byte) { delete(files, x7+part3) }
			})),
		of(BookMismatch, bookFile, "recipient-other", "",
			stated("book-recipient", "the book names another recipient", func(f *Manifest) { f.Recipient = "acme-health-plan" })),
		of(BookMismatch, bookFile, "next", "other-first",
			stated("book-previous", "the book names another manifest before this one", func(f *Manifest) { f.Previous = m.manifestSum("other-first") })))
}

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
