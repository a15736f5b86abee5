package transfer

import (
	"bytes"
	"encoding/base64"
	"slices"
	"strings"
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
		stated("manifest-introduces", "the key that it introduces has a comment", func(f *Manifest) { f.Introduces = keyOf(newKey) + " clearview" }),
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
