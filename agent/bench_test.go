package agent_test

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
)

// BenchmarkRun measures whole runs of the demo's three exchanges, from the
// first byte read to the commit: 100,000 records, 58 MB. What each stage takes
// is reported beside the total.
func BenchmarkRun(b *testing.B) {
	w, err := demo.New(b.Context(), b.TempDir(), synthetic.Options{Records: 36_700, Mess: true}, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.Close() })
	for _, name := range demo.Exchanges {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			seconds := map[string]float64{}
			for b.Loop() {
				o, err := w.Agent.Run(b.Context(), name, agent.RunOptions{AsOf: demo.AsOf()})
				if err != nil {
					b.Fatal(err)
				}
				b.SetBytes(o.Bytes)
				for _, s := range o.Stages {
					seconds[s.Stage] += s.Seconds
				}
			}
			for stage, sum := range seconds {
				b.ReportMetric(sum/float64(b.N)*1e3, stage+"-ms")
			}
		})
	}
}

// BenchmarkFilter measures `postern deid` on one worker: a Safe Harbor release
// of observations, and of delimited rows.
func BenchmarkFilter(b *testing.B) {
	w, err := demo.New(b.Context(), b.TempDir(), synthetic.Options{Records: 100_000}, hclog.NewNullLogger())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = w.Close() })
	in := func(path string) string { return filepath.Join(w.Clinic, "extract", path) }
	rows := agent.Filter{Policy: "testdata/bench/scores.yaml", Dataset: "scores", Schema: filepath.Join(w.Clinic, "schemas", "scores.json"), In: in("scores/scores.csv")}
	observations := agent.Filter{Policy: "testdata/bench/observations.yaml", Dataset: "Observation", In: in("fhir/Observation.ndjson")}
	for _, f := range []agent.Filter{observations, rows} {
		b.Run(f.Dataset, func(b *testing.B) {
			info, err := os.Stat(f.In)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(info.Size())
			b.ReportAllocs()
			f.AsOf = demo.AsOf()
			for b.Loop() {
				if _, err := f.Run(b.Context(), io.Discard); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkSharedData measures whole runs over a folder of FHIR NDJSON, such as
// scripts/bench-data makes of the shared data, under an identified and under a
// Safe Harbor policy. Every fifth patient has refused one of them.
func BenchmarkSharedData(b *testing.B) {
	folder := os.Getenv("POSTERN_BENCH_DATA")
	if folder == "" {
		b.Skip("peer POSTERN_BENCH_DATA is missing: the folder with the data")
	}
	c := newSharedClinic(b, sharedSource(folder, "", sharedNDJSON),
		map[string]string{"identified": "shared-identified.yaml", "safe-harbor": "shared-safe-harbor.yaml"}, refusals(b, filepath.Join(folder, "Patient.ndjson")))
	c.open(b, io.Discard)
	b.Setenv("GOMEMLIMIT", "") // a run may take what a process of its own may
	for _, exchange := range []string{"identified", "safe-harbor"} {
		b.Run(exchange, func(b *testing.B) {
			debug.FreeOSMemory()
			must(b, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // the most is that of this run: proc(5)
			for b.Loop() {
				o, err := c.agent.Run(b.Context(), exchange, agent.RunOptions{AsOf: sharedDay(b, "2020-06-30")})
				must(b, err)
				b.SetBytes(o.Bytes)
				b.ReportMetric(float64(o.Released), "released")
				for _, s := range o.Stages {
					b.ReportMetric(s.Seconds, s.Stage+"-s")
				}
			}
			status, err := os.ReadFile("/proc/self/status")
			must(b, err)
			resident := 0.0
			_, after, _ := strings.Cut(string(status), "VmHWM:")
			_, err = fmt.Sscan(after, &resident)
			must(b, err)
			b.ReportMetric(resident/1024, "most-MiB")
		})
	}
}

func refusals(b *testing.B, patients string) string {
	file, err := os.Open(patients)
	must(b, err)
	defer func() { _ = file.Close() }()
	id := regexp.MustCompile(`"id": ?"([^"]+)"`)
	var rows strings.Builder
	rows.WriteString("patient,scope,decision,status,from,source_document\n")
	lines := bufio.NewScanner(file)
	lines.Buffer(nil, 1<<20)
	for n := 0; lines.Scan(); n++ {
		if m := id.FindSubmatch(lines.Bytes()); m != nil && n%5 < 2 {
			fmt.Fprintf(&rows, "%s,%s,deny,active,2020-01-01,form.pdf\n", m[1], []string{"general", "registry-opt-out"}[n%5])
		}
	}
	must(b, lines.Err())
	return rows.String()
}
