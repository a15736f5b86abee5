package extract

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// file puts text into a file and describes it.
func file(t testing.TB, name, text string, rule FileRule) File {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return fileAt(t, path, &rule)
}

// records shows all records of a file, read with the given limits.
func records(t testing.TB, f File, l limits) ([]string, error) {
	t.Helper()
	r := OpenChunks([]File{f})
	r.limits = l
	var got []string
	last := int64(-1)
	err := readAll(r, func(rec *Record) {
		if rec.Ordinal != 0 && rec.Ordinal != last+1 {
			t.Errorf("ordinal %d after %d", rec.Ordinal, last)
		}
		last = rec.Ordinal
		cells := ""
		for _, c := range rec.Row {
			cells += "[" + string(c) + "]"
		}
		got = append(got, fmt.Sprintf("%d/%d %s %s", rec.Place.Line, rec.Place.Entry, show(rec), cells))
	})
	return got, err
}

var wide = limits{chunkSize, MaxRecord, MaxBundle}

func expect(t *testing.T, got []string, err error, want ...string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		got[i] = strings.TrimSpace(got[i])
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// A table of a few rows does not cost the memory of a whole chunk.
func TestMemoryIsTakenAsTheTextComes(t *testing.T) {
	r := OpenChunks([]File{file(t, "x.ndjson", fmt.Sprintf(org, "a"), FileRule{Format: FHIRNDJSON})})
	var c Chunk
	if err := r.Next(&c); err != nil || cap(c.data) >= chunkSize/10 {
		t.Errorf("%d bytes are taken, %v", cap(c.data), err)
	}
}

const org = `{"resourceType":"Organization","id":"%s"}`

func TestLines(t *testing.T) {
	text := "\ufeff" + fmt.Sprintf(org, "a") + "\r\n\n  \t\r\n" + fmt.Sprintf(org, "b") + "\nbad\n" + fmt.Sprintf(org, "\xff") + "\n" + fmt.Sprintf(org, "c")
	f := file(t, "x.ndjson", text, FileRule{Format: FHIRNDJSON})
	for _, size := range []int{1, 7, 40, 41, 42, 1000} {
		got, err := records(t, f, limits{size, 1000, 0})
		expect(t, got, err, "1/0 Organization/a of  on no date", "4/0 Organization/b of  on no date", "5/0 (unreadable)/ of  on no date REJECT malformed",
			"6/0 (unreadable)/ of  on no date REJECT malformed", "7/0 Organization/c of  on no date")
	}
	for _, empty := range []string{"", "\ufeff", "\n\n"} {
		got, err := records(t, file(t, "x.ndjson", empty, FileRule{Format: FHIRNDJSON}), wide)
		expect(t, got, err)
	}
}

func TestOverLongLine(t *testing.T) {
	long := fmt.Sprintf(org, strings.Repeat("x", 500))
	text := fmt.Sprintf(org, "a") + "\n" + long + "\r\n" + fmt.Sprintf(org, "b") + "\n" + long + "\n" + long
	f := file(t, "x.ndjson", text, FileRule{Format: FHIRNDJSON})
	for _, size := range []int{1, 64, 600, 5000} {
		got, err := records(t, f, limits{size, 200, 0})
		expect(t, got, err, "1/0 Organization/a of  on no date", "2/0 (unreadable)/ of  on no date REJECT too-large", "3/0 Organization/b of  on no date",
			"4/0 (unreadable)/ of  on no date REJECT too-large", "5/0 (unreadable)/ of  on no date REJECT too-large")
		got, err = records(t, f, limits{size, len(long), 0})
		if err != nil || slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, "REJECT") }) {
			t.Errorf("size %d: a record of the largest size is refused: %v", size, err)
		}
	}
}

func scores() *Schema {
	s, err := parseSchema("scores.json", []byte(`{"fields":[
		{"name":"patient","class":"subject-key","role":"subject"},
		{"name":"when","type":"date","format":"%m/%d/%Y","class":"date","role":"date"},
		{"name":"score","type":"integer","class":"number"},
		{"name":"note","class":"free-text"}]}`))
	if err != nil {
		panic(err)
	}
	return s
}

func TestRows(t *testing.T) {
	text := "\ufeffpatient,when,score,note\r\n" +
		"p1,3/2/2026,12,\r\n" + // line 2
		`p2,"03/02/2026",,"a, ""quoted""` + "\r\n" + `note"` + "\r\n" + // 3, 4
		"\r\n" + // 5
		"p3,1/1/2026,1\r\n" + // 6 too few
		"p4,13/1/2026,1,x\r\n" + // 7 no such month
		"p5,1/1/2026,1.5,x\r\n" + // 8
		"p6,1/1/2026,1,5\" pipe\r\n" + // 9 stray quote
		"p7,1/1/2026,1,\"x\"y\r\n" + // 10
		",1/1/2026,1,x\r\n" + // 11 no subject
		"p8,1/1/2026,1,caf\xe9\r\n" + // 12
		"p9,1/1/2026,1,end" // 13
	f := file(t, "x.csv", text, FileRule{Format: Delimited, Dataset: "scores", Schema: scores()})
	for _, size := range []int{1, 30, 64, 5000} {
		got, err := records(t, f, limits{size, 1000, 0})
		expect(t, got, err,
			"2/0 scores/ of p1 on 2026-03-02 [p1][3/2/2026][12][]",
			"3/0 scores/ of p2 on 2026-03-02 [p2][03/02/2026][][a, \"quoted\"\r\nnote]",
			"6/0 scores/ of  on no date REJECT schema [p3][1/1/2026][1]",
			"7/0 scores/ of p4 on no date REJECT schema [p4][13/1/2026][1][x]",
			"8/0 scores/ of p5 on 2026-01-01 REJECT schema [p5][1/1/2026][1.5][x]",
			"9/0 scores/ of  on no date REJECT malformed [p6][1/1/2026][1]",
			"10/0 scores/ of  on no date REJECT malformed [p7][1/1/2026][1][x]",
			"11/0 scores/ of  on 2026-01-01 REJECT no-subject [][1/1/2026][1][x]",
			"12/0 scores/ of  on no date REJECT malformed",
			"13/0 scores/ of p9 on 2026-01-01 [p9][1/1/2026][1][end]")
	}
	open := file(t, "x.csv", "patient,when,score,note\np1,1/1/2026,1,\"never\nclosed\n", f.ruleCopy())
	got, err := records(t, open, wide)
	expect(t, got, err, "2/0 scores/ of  on no date REJECT malformed [p1][1/1/2026][1]")
	got, err = records(t, open, limits{4, 20, 0})
	expect(t, got, err, "2/0 scores/ of  on no date REJECT too-large")
}

func (f File) ruleCopy() FileRule { return *f.Rule }

func TestHeaderMustBeTheSchemas(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "x.csv:1: the header is missing; the schema has patient, when, score, note"},
		{"\n", "x.csv:1: the header is missing; the schema has patient, when, score, note"},
		{"Secret,1/1/2026,3,x\n", `x.csv:1: column 1 of the header is not "patient"; the schema has patient, when, score, note`},
		{"patient,when,score\n", `x.csv:1: the header has no column "note"; the schema has patient, when, score, note`},
		{"patient,when,score,note,\n", `x.csv:1: the header has 5 columns, the schema 4; the schema has patient, when, score, note`},
		{"patient|when|score|note\n", `x.csv:1: column 1 of the header is not "patient"; the schema has patient, when, score, note`},
		{"\"patient,when\n", "x.csv:1: the header cannot be read; the schema has patient, when, score, note"},
	} {
		_, err := records(t, file(t, "x.csv", c.text, FileRule{Format: Delimited, Schema: scores()}), wide)
		var fe *FileError
		if !errors.As(err, &fe) || err.Error() != c.want {
			t.Errorf("%q: got %v, want %s", c.text, err, c.want)
		}
	}
}

// Any chunk size gives the same records: what lies where in memory must not
// decide what a record is.
func TestChunkSizeChangesNothing(t *testing.T) {
	line := rapid.SampledFrom([]string{fmt.Sprintf(org, "a"), `{"resourceType":"Patient","id":"p"}`, "x", "", " ", `{"a":"` + strings.Repeat("y", 90) + `"}`})
	row := rapid.SampledFrom([]string{"p,1/1/2026,1,x", "p,1/1/2026,1,\"a\nb\"", "\"p", "p\"q,,,", "", "p,\"\",\"\"\"\",\"\n\n\"", "p,1/1/2026,1," + strings.Repeat("y", 90)})
	end := rapid.SampledFrom([]string{"\n", "\r\n"})
	check := func(t *rapid.T, name, text string, rule FileRule) {
		dir, err := os.MkdirTemp("", "chunks")
		if err != nil {
			t.Fatal(err)
		}
		defer os.RemoveAll(dir)
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		f, _ := FileAt(path, &rule)
		read := func(size int) (out []string) {
			r := OpenChunks([]File{f})
			r.limits = limits{size, 80, 10000}
			if err := readAll(r, func(rec *Record) { out = append(out, fmt.Sprintf("%v %s %d", rec.Place, show(rec), len(rec.Row))) }); err != nil {
				t.Fatal(err)
			}
			return out
		}
		size := rapid.IntRange(1, 300).Draw(t, "size")
		if a, b := read(size), read(100000); !slices.Equal(a, b) {
			t.Fatalf("%q\nwith %d:\n%s\nwhole:\n%s", text, size, strings.Join(a, "\n"), strings.Join(b, "\n"))
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		var lines, rows, entries strings.Builder
		rows.WriteString("patient,when,score,note\n")
		for range rapid.IntRange(0, 12).Draw(t, "n") {
			lines.WriteString(line.Draw(t, "line") + end.Draw(t, "end"))
			rows.WriteString(row.Draw(t, "row") + end.Draw(t, "end"))
			if l := line.Draw(t, "entry"); strings.HasPrefix(l, "{") {
				if entries.Len() > 0 {
					entries.WriteString(",\n")
				}
				entries.WriteString(`{"resource":` + l + "}")
			}
		}
		check(t, "x.ndjson", lines.String(), FileRule{Format: FHIRNDJSON})
		check(t, "x.csv", rows.String(), FileRule{Format: Delimited, Dataset: "scores", Schema: scores()})
		check(t, "x.json", `{"resourceType":"Bundle","entry":[`+entries.String()+`],"type":"batch"}`, FileRule{Format: FHIRJSON})
	})
}

func TestCompressed(t *testing.T) {
	text := strings.Repeat(fmt.Sprintf(org, "a")+"\n", 5000)
	var packed bytes.Buffer
	w := gzip.NewWriter(&packed)
	_, _ = w.Write([]byte("\ufeff" + text))
	_ = w.Close()
	stored := map[string]string{"x.ndjson.gz": packed.String()}
	if _, err := exec.LookPath("zstd"); err == nil {
		cmd := exec.Command("zstd", "-q", "-c")
		cmd.Stdin = strings.NewReader(text)
		out, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		stored["x.ndjson.zst"] = string(out)
	} else if os.Getenv("POSTERN_REQUIRE") == "all" {
		t.Fatal("peer zstd is missing")
	}
	for name, bytes := range stored {
		r := OpenChunks([]File{file(t, name, bytes, FileRule{Format: FHIRNDJSON})})
		n := 0
		if err := readAll(r, func(*Record) { n++ }); err != nil || n != 5000 {
			t.Errorf("%s: %d records, %v", name, n, err)
		}
		sum := sha256.Sum256([]byte(bytes))
		if got := r.Sums(); len(got) != 1 || got[0] != (FileSum{name, hex.EncodeToString(sum[:]), int64(len(bytes))}) {
			t.Errorf("%s: sums %v", name, got)
		}
		for _, bad := range []string{"", bytes[:len(bytes)/2], bytes[:len(bytes)-1], bytes + "x", "x" + bytes} {
			_, err := records(t, file(t, name, bad, FileRule{Format: FHIRNDJSON}), wide)
			var fe *FileError
			if !errors.As(err, &fe) || fe.File != name {
				t.Errorf("%s with %d of %d bytes: %v", name, len(bad), len(bytes), err)
			}
		}
	}
}

func TestSumsAreOfAllFiles(t *testing.T) {
	a, b := file(t, "a.ndjson", fmt.Sprintf(org, "a"), FileRule{Format: FHIRNDJSON}), file(t, "b.json", fmt.Sprintf(org, "b"), FileRule{Format: FHIRJSON})
	b.Index = 1
	r := OpenChunks([]File{a, b})
	var files []int
	if err := readAll(r, func(rec *Record) { files = append(files, rec.Place.File) }); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(files, []int{0, 1}) || len(r.Sums()) != 2 {
		t.Errorf("files %v, sums %v", files, r.Sums())
	}
	b.Size++
	var fe *FileError
	if err := readAll(OpenChunks([]File{b}), func(*Record) {}); !errors.As(err, &fe) || !strings.Contains(fe.Reason, "changed") {
		t.Errorf("a file that changed: %v", err)
	}
}
