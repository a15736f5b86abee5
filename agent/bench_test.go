package agent_test

import (
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
