package build

import (
	"bytes"
	"encoding/csv"
	"io"
	"strconv"
	"strings"
	"testing"

	"bufio"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// page is a book's file in memory.
type page struct{ bytes.Buffer }

func (*page) Close() error { return nil }

func openPages(t interface{ Fatal(...any) }, files []extract.File) (b *books, dispositions, rows *page) {
	b, err := openBooks(&Job{Files: files})
	if err != nil {
		t.Fatal(err)
	}
	dispositions, rows = new(page), new(page)
	b.dispositions, b.rows = sink{bufio.NewWriter(dispositions), dispositions}, sink{bufio.NewWriter(rows), rows}
	return b, dispositions, rows
}

var awkwardFiles = []extract.File{{Name: "fhir/Observation.ndjson"}, {Name: `odd "name", really.csv`}, {Name: "line\nbreak\r.csv"}}

// TestDispositionsSayEveryRecordOnce: runs of lines in the clinic's book,
// unrolled by another reader, are the records that were noted, in order.
func TestDispositionsSayEveryRecordOnce(t *testing.T) {
	reasons := []extract.ReasonSet{0, extract.ReasonSet(0).With(extract.NotAMember), extract.ReasonSet(0).With(extract.ConsentDenied).With(extract.RestrictionSelfPay)}
	rapid.Check(t, func(t *rapid.T) {
		b, text, _ := openPages(t, awkwardFiles)
		var want [][]string
		line, file := int64(0), 0
		for range rapid.IntRange(0, 60).Draw(t, "records") {
			line += rapid.SampledFrom([]int64{1, 1, 1, 1, 2}).Draw(t, "step")
			if file < len(awkwardFiles)-1 && rapid.IntRange(0, 20).Draw(t, "next file") == 0 {
				file, line = file+1, 1
			}
			place := extract.Place{File: file, Line: line, Entry: rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 1, 2}).Draw(t, "entry")}
			set := rapid.SampledFrom(reasons).Draw(t, "reasons")
			detail := rapid.SampledFrom([]string{"", "", "", `a "detail", with all`}).Draw(t, "detail")
			if err := b.disposition(place, "scores", set, detail); err != nil {
				t.Fatal(err)
			}
			want = append(want, []string{awkwardFiles[file].Name, strconv.FormatInt(line, 10), strconv.Itoa(place.Entry), "scores", set.First().Disposition().String(), set.Names(), detail})
		}
		if err := b.close(nil); err != nil {
			t.Fatal(err)
		}
		var got [][]string
		for _, r := range readCSV(t, text, "file", 8) {
			from, _ := strconv.Atoi(r[1])
			to, _ := strconv.Atoi(r[2])
			for n := from; n <= to; n++ {
				got = append(got, append([]string{r[0], strconv.Itoa(n)}, r[3:]...))
			}
		}
		if len(got) != len(want) {
			t.Fatalf("%d records in the book, %d were noted", len(got), len(want))
		}
		for i := range want {
			want[i][0] = strings.ReplaceAll(want[i][0], "\r\n", "\n")
			if strings.Join(got[i], "|") != strings.Join(want[i], "|") {
				t.Fatalf("record %d: %q, want %q", i, got[i], want[i])
			}
		}
	})
}

func readCSV(t interface{ Fatal(...any) }, text io.Reader, first string, columns int) (rows [][]string) {
	reader := csv.NewReader(text)
	reader.FieldsPerRecord = columns
	rows, err := reader.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) > 0 && rows[0][0] == first {
		rows = rows[1:]
	}
	return rows
}

// TestRowIndexHoldsAnyId: ids come from the clinic's systems as they are.
func TestRowIndexHoldsAnyId(t *testing.T) {
	b, _, text := openPages(t, awkwardFiles)
	ids := []string{"CV-1", `Smith, "J"`, "", "12\n13"}
	for i, id := range ids {
		r := row{subject: consent.Subject(i), place: extract.Place{File: i % 3, Line: int64(10 + i), Entry: i}}
		if err := b.row(2, int64(i+1), &r, "scores", []byte(id)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.close(nil); err != nil {
		t.Fatal(err)
	}
	got := readCSV(t, text, "part", 7)
	for i, id := range ids {
		want := []string{"2", strconv.Itoa(i + 1), awkwardFiles[i%3].Name, strconv.Itoa(10 + i), strconv.Itoa(i), "scores", id}
		if strings.Join(got[i], "|") != strings.Join(want, "|") {
			t.Errorf("line %d: %q, want %q", i, got[i], want)
		}
	}
}
