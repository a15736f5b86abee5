package agent_test

import (
	"io"
	"os"
	"path/filepath"
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
