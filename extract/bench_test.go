package extract

import (
	"bytes"
	"io"
	"strings"
	"testing"
)

// loaded gives all records of NDJSON files as chunks in memory, repeated to
// at least size bytes.
func loaded(b *testing.B, size int, folders ...string) (chunks []*Chunk, total int64) {
	b.Helper()
	var all []byte
	for _, folder := range folders {
		for _, f := range dataFiles(b, folder, FHIRNDJSON, ".ndjson", ".ndjson.gz") {
			in, err := openInput(&f)
			if err != nil {
				b.Fatal(err)
			}
			text, err := io.ReadAll(in)
			if err != nil {
				b.Fatal(err)
			}
			all = append(append(all, text...), '\n')
		}
	}
	all = bytes.Repeat(all, 1+size/len(all))
	file := &File{Rule: &FileRule{Format: FHIRNDJSON}}
	l := &lineCutter{file: file, r: bytes.NewReader(all), limits: limits{chunkSize, MaxRecord, MaxBundle}, line: 1}
	for {
		c := &Chunk{file: file, limit: MaxRecord}
		if l.next(c) != nil {
			return chunks, int64(len(all))
		}
		chunks = append(chunks, c)
	}
}

func benchmarkScan(b *testing.B, folders ...string) {
	chunks, total := loaded(b, 64<<20, folders...)
	s, rec, n := NewScanner(), Record{}, 0
	b.SetBytes(total)
	b.ReportAllocs()
	for b.Loop() {
		n = 0
		for _, c := range chunks {
			for s.Reset(c); s.Next(&rec); n++ {
			}
		}
	}
	b.ReportMetric(float64(n), "records")
	b.ReportMetric(float64(b.N)*float64(n)/b.Elapsed().Seconds(), "records/s")
}

func BenchmarkScanClinicSurveys(b *testing.B) { benchmarkScan(b, "clinic", "surveys") }
func BenchmarkScanBulkExport(b *testing.B)    { benchmarkScan(b, "bulk-export") }
func BenchmarkScanPopulation(b *testing.B)    { benchmarkScan(b, "population") }
func BenchmarkScanMeasures(b *testing.B)      { benchmarkScan(b, "measures") }

func BenchmarkTape(b *testing.B) {
	chunks, total := loaded(b, 64<<20, "clinic", "surveys")
	var t tape
	b.SetBytes(total)
	for b.Loop() {
		for _, c := range chunks {
			for line := range bytes.Lines(c.data) {
				t.read(line)
			}
		}
	}
}

func BenchmarkChunks(b *testing.B) {
	var files []File
	var total int64
	for _, folder := range []string{"clinic", "surveys", "bulk-export"} {
		for _, f := range dataFiles(b, folder, FHIRNDJSON, ".ndjson") {
			files, total = append(files, f), total+f.Size
		}
	}
	b.SetBytes(total)
	for b.Loop() {
		var c Chunk
		r := OpenChunks(files)
		for r.Next(&c) == nil {
		}
	}
}

func BenchmarkRows(b *testing.B) {
	text := []byte(strings.Repeat("p1234567,3/2/2026,12,completed at home on paper and entered by the front desk\np1234568,03/12/2026,7,\"by telephone, with help\"\n", 20000))
	f := &File{Rule: &FileRule{Format: Delimited, Dataset: "scores", Schema: scores()}}
	s, rec := NewScanner(), Record{}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		for s.Reset(&Chunk{file: f, data: text, limit: MaxRecord}); s.Next(&rec); {
			if rec.Reject != NoReason {
				b.Fatal(rec.Detail)
			}
		}
	}
}
