package transfer

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// publishedFiles gives the vectors' files whose names end so, or the one of that path.
func publishedFiles(t testing.TB, end string) (texts [][]byte) {
	t.Helper()
	if !strings.Contains(end, "/") {
		end = "*/*" + end
	}
	names, err := filepath.Glob(filepath.Join(vectorFolder, filepath.FromSlash(end)))
	must(t, err)
	if len(names) == 0 {
		t.Fatalf("no vector has a file %s", end)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		must(t, err)
		texts = append(texts, text)
	}
	return texts
}

// oneSpelling expects that what was read is written as it was, but for padding.
func oneSpelling[T any](t *testing.T, data []byte, padding string, read func([]byte) (*T, error)) *T {
	t.Helper()
	document, err := read(data)
	if err != nil {
		return nil
	}
	again, err := encode(document)
	if text, ended := bytes.CutSuffix(data, newline); err != nil || !ended || string(again) != strings.TrimRight(string(text), padding)+"\n" {
		t.Errorf("%T has two spellings", document)
	}
	return document
}

// Readers of documents that others write: no panic, one spelling only, and no
// name that leads out of the folder.
func FuzzDocuments(f *testing.F) {
	for _, text := range publishedFiles(f, manifestSuffix) {
		f.Add(text)
	}
	identity := vectorReceiver(f).Identities[0]
	for _, name := range []string{"first/cv.x7.000001", "part2/cv.p2.000001", "layouts/cv.l4.000001", "changes/cv.x7.000002"} {
		f.Add(bytes.TrimRight(decryptFile(f, filepath.Join(vectorFolder, name+bookSuffix+ageEnd), identity), " \n"))
	}
	for _, document := range []any{
		&Receipt{Format: ReceiptFormat, Status: Accepted, Parts: []ReceiptPart{{}}, ReceivedAt: "2026-07-05T02:00:00Z"},
		&Recall{Format: RecallFormat, Sender: "a", Recipient: "b", Exchange: "x7", Sequence: 1, ManifestSHA256: sumOf(nil), Number: 1, RecalledAt: "2026-07-05T02:00:00Z"},
		&RecallReceipt{Format: RecallReceiptFormat, Sender: "a", Recipient: "b", Exchange: "x7", Sequence: 1, Number: 1, RecallSHA256: sumOf(nil), ConfirmedAt: "2026-07-05T02:00:00Z"},
	} {
		text, err := encode(document)
		must(f, err)
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if m := oneSpelling(t, data, "", ParseManifest); m != nil {
			for _, f := range m.Files {
				if f.Name != filepath.Base(f.Name) || !strings.HasPrefix(f.Name, m.Base().String()+".") {
					t.Errorf("name %q", f.Name)
				}
			}
		}
		padded := append(bytes.TrimSuffix(data, newline), "  \n"...)
		oneSpelling(t, padded, " ", ParseBook)
		oneSpelling(t, padded, " ", ParseRecall)
		oneSpelling(t, data, "", ParseReceipt)
		oneSpelling(t, data, "", func(data []byte) (*RecallReceipt, error) {
			return parse[RecallReceipt]("answer to a recall", data, maxSmall)
		})
	})
}

// FuzzDrop lays what it is given at one place of a good drop, with all that
// follows made of it. Whatever that is, the drop is accepted whole, or refused
// with a class, a file of its own and no plaintext.
func FuzzDrop(f *testing.F) {
	places := []func(d *draft, data []byte){
		func(d *draft, data []byte) {
			d.text = func([]byte) []byte { return data }
			d.sums = func(sums []byte) []byte {
				if m, err := ParseManifest(data); err == nil {
					return m.sums()
				}
				return sums
			}
		},
		func(d *draft, data []byte) { d.bookText = func([]byte) []byte { return append(data, '\n') } },
		func(d *draft, data []byte) {
			d.packed = map[int]func([]byte) []byte{1: func([]byte) []byte { return data }}
		},
		func(d *draft, data []byte) { d.parts[0].text = string(data) },
		func(d *draft, data []byte) {
			d.sealed = map[string]func([]byte) []byte{part1: func([]byte) []byte { return data }}
		},
		func(d *draft, data []byte) { d.sums = func([]byte) []byte { return data } },
		func(d *draft, data []byte) { d.signature = func([]byte) []byte { return data } },
		func(d *draft, data []byte) { d.done = func([]byte) []byte { return data } },
		func(d *draft, data []byte) { d.book.Ledger.Checkpoint = strings.ToValidUTF8(string(data), "") },
	}
	first := func(end string) []byte { return publishedFiles(f, "cv.x7.000001"+end)[0] }
	identity := vectorReceiver(f).Identities[0]
	book := decryptFile(f, filepath.Join(vectorFolder, "first", "cv.x7.000001.book.json.age"), identity)
	for place, seed := range [][]byte{
		first(manifestSuffix), bytes.TrimRight(book, " \n"), pack(f, vectorScores), []byte(vectorScores),
		first(".001.zst.age"), first(sumsSuffix), first(signatureSuffix), first(doneSuffix), []byte("clearview.example/postern\n3\n"),
	} {
		f.Add(uint8(place), seed)
	}
	f.Fuzz(func(t *testing.T, place uint8, data []byte) {
		m, d := &vectorMaker{t: t}, new(draft)
		m.first(d)
		d.parts = d.parts[:1] // it makes them faster
		places[int(place)%len(places)](d, data)
		r := vectorReceiver(t)
		r.ReceiptSigner = nil
		var result Result
		_, err := r.take(context.Background(), &memory{}, layOut(t, m.files(d)), Base{"cv", "x7", 1}, &result)
		var refused *Fault
		switch {
		case errors.As(err, &refused):
			if !refused.Class.known() || !strings.HasPrefix(refused.File, x7) {
				t.Errorf("refused by %v", refused)
			}
			if left := plaintexts(t, r.Dir); len(left) != 0 {
				t.Errorf("it left %v", left)
			}
		case err != nil:
			t.Error(err)
		default:
			for _, p := range result.Book.Parts {
				text, err := os.ReadFile(filepath.Join(result.Folder, p.file()))
				if err != nil || sumOf(text) != p.PlaintextSHA256 {
					t.Errorf("accepted with another %s: %v", p.Name, err)
				}
			}
		}
	})
}
