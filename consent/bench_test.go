package consent

import (
	"fmt"
	"runtime"
	"testing"
	"unsafe"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

func TestADirectiveIsCompact(t *testing.T) {
	if size := unsafe.Sizeof(directive{}) + unsafe.Sizeof(source{}) + 3*unsafe.Sizeof(provision{}); size > 200 {
		t.Errorf("a directive with three provisions takes %d bytes", size)
	}
}

// clinic has n patients with one directive each, all of them read as FHIR
// would give them: a base and an exception.
func clinic(tb testing.TB, n int) (*world, []extract.Facts) {
	people := NewPeople()
	w := &world{tables: &Tables{People: people, Directives: NewDirectives(people), Rosters: map[string]*Roster{}}}
	w.req = newWorld(tb).req
	_ = w.treatment()
	w.general(policies.DenyWithout)
	facts := make([]extract.Facts, 4096)
	for i := range n {
		id := fmt.Appendf(nil, "%08x-5d0f-4f3c-9d3c-%012x", i*2654435761, i)
		root, exception := unlimited(permit), unlimited(deny)
		root.next, exception.next = 2, 2
		root.to = 2e9
		draft := &draft{source: source{subject: people.Intern(id), identity: identify(string(id))}, directive: directive{ended: extract.NoDay, signed: 1},
			provisions: []provision{root, exception}, whos: []who{{action: yes, purposes: []string{"TREAT"}}, {action: yes}}, whats: []what{{}, {labels: []string{"HIV"}}}}
		draft.file = w.tables.Directives.file("x")
		if err := w.tables.Directives.add(draft); err != nil {
			panic(err)
		}
	}
	for i := range facts {
		f := score(string(people.ID(Subject(uint64(i)*2654435761%uint64(n)))), "2026-03-02")
		f.Labels = []phi.Bytes{phi.Bytes("PSY")}
		facts[i] = f
	}
	return w, facts
}

func TestDecideAllocatesNothing(t *testing.T) {
	w, facts := clinic(t, 100)
	d, err := NewDecider(w.req, w.tables)
	if err != nil {
		t.Fatal(err)
	}
	i := 0
	if n := testing.AllocsPerRun(1000, func() { d.Decide(&facts[i%len(facts)]); i++ }); n != 0 {
		t.Errorf("%v allocations per decision", n)
	}
	if got := d.Decide(&facts[0]); got.Reasons != 0 {
		t.Errorf("withheld: %s", got.Reasons.Names())
	}
}

func BenchmarkDecide(b *testing.B) {
	const n = 1_000_000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	w, _ := clinic(b, n)
	runtime.GC()
	runtime.ReadMemStats(&after)
	d, err := NewDecider(w.req, w.tables)
	if err != nil {
		b.Fatal(err)
	}
	// A record's facts lie in the scanner's hot buffer, so they do here: one
	// Facts, and ids in the order of use; whom they are about is at random.
	ids := make([]phi.Bytes, 1<<18)
	for i := range ids {
		ids[i] = append(phi.Bytes(nil), w.tables.People.ID(Subject(uint64(i)*2654435761%n))...)
	}
	f := labelled(score("", "2026-03-02"), "PSY")
	b.ReportAllocs()
	i, released := 0, 0
	for b.Loop() {
		f.Subjects[0] = ids[i&(1<<18-1)]
		if d.Decide(&f).Reasons == 0 {
			released++
		}
		i++
	}
	if released != i {
		b.Fatalf("%d of %d released", released, i)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/n, "B/patient+directive")
}
