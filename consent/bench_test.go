package consent

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"
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

// crowd is a clinic of n patients with n directives, which fall on them at
// random: many patients have none, some several. They begin on one of 2,500
// days and hold for one, three or fifty years, in a dozen forms: registry rows
// and FHIR Consents by turns. Timed, all are Consents that begin at a second of
// their own, so that hardly two say the same.
type crowd struct {
	*world
	ids     [][]byte
	permits []bool  // by patient: whether a score of theirs may leave
	seconds float64 // to load the directives
	each    float64 // bytes that one of them takes
}

func newCrowd(tb testing.TB, n int, timed bool) *crowd {
	c := &crowd{world: newWorld(tb).general(policies.DenyWithout)}
	for i := range n {
		c.ids = append(c.ids, fmt.Appendf(nil, "%08x-5d0f-4f3c-9d3c-%012x", uint32(i)*2654435761, i))
	}
	c.write(timed)
	for _, id := range c.ids {
		c.tables.People.Intern(id)
	}
	before, ds, start := heap(), c.tables.Directives, time.Now()
	_, err := ds.LoadRegistry(filepath.Join(c.folder, "registry.csv"))
	c.must(err)
	path := filepath.Join(c.folder, "consents.ndjson")
	info, err := os.Stat(path)
	c.must(err)
	_, err = ds.LoadFHIRConsents(context.Background(), []extract.File{{Name: "consents.ndjson", Path: path, Size: info.Size(), Rule: &extract.FileRule{Format: extract.FHIRNDJSON}}})
	c.must(err)
	c.seconds = time.Since(start).Seconds()
	c.each = (heap() - before) / float64(n)
	return c
}

// heap is how many bytes are in use.
func heap() float64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// write makes the consent sources, and notes by simpler means than the engine's
// what they come to for a score that is labelled PSY.
func (c *crowd) write(timed bool) {
	registry, consents := c.create("registry.csv"), c.create("consents.ndjson")
	fmt.Fprintln(registry, "patient,scope,decision,status,recipient,purpose,categories,from,to,signed_on,form")
	random, n, today := rand.New(rand.NewPCG(1, 2)), len(c.ids), day("2026-07-05")
	granted, revoked, denied := make([]extract.Day, n), make([]extract.Day, n), make([]bool, n)
	for k := range n {
		form, patient, from := random.IntN(16), random.IntN(n), today-1-extract.Day(random.IntN(2500))
		to := from + [...]extract.Day{365, 3 * 365, 50 * 365}[random.IntN(3)]
		if timed || k%2 == 1 {
			writeConsent(consents, k, c.ids[patient], form, from, to, timed)
		} else {
			writeRow(registry, c.ids[patient], form, from, to)
		}
		switch {
		case form == denial:
			denied[patient] = denied[patient] || to >= today
		case form == revocation:
			revoked[patient] = max(revoked[patient], from)
		case to >= today:
			granted[patient] = max(granted[patient], from)
		}
	}
	for i := range n {
		c.permits = append(c.permits, granted[i] > revoked[i] && !denied[i])
	}
	c.must(registry.Flush())
	c.must(consents.Flush())
}

func (c *crowd) create(name string) *bufio.Writer {
	f, err := os.Create(filepath.Join(c.folder, name))
	c.must(err)
	c.t.Cleanup(func() { _ = f.Close() })
	return bufio.NewWriter(f)
}

// The forms that are no permits; there are 16.
const denial, revocation = 0, 1

func writeRow(w *bufio.Writer, patient []byte, form int, from, to extract.Day) {
	decision, status := "permit", "active"
	switch form {
	case denial:
		decision = "deny"
	case revocation:
		status = "revoked"
	}
	fmt.Fprintf(w, "%s,general,%s,%s,%s,TPO,%s,%s,%s,%[6]s,tpo-2026\n", patient, decision, status,
		[...]string{"", "*", "kind:provider;kind:health-plan"}[form%3], [...]string{"", "", "class:Observation", "PSY;SUD"}[form/4], from, to)
}

func writeConsent(w *bufio.Writer, k int, patient []byte, form int, from, to extract.Day, timed bool) {
	status, base, start := "active", "OPTIN", from.String()
	switch form {
	case denial:
		base = "OPTOUT"
	case revocation:
		status = "inactive"
	}
	if timed {
		start += time.Unix(int64(k), 0).UTC().Format("T15:04:05Z")
	}
	var exceptions []string
	for _, label := range [...][]string{2: {"HIV"}, 3: {"SUD", "SDV"}}[form/4] {
		exceptions = append(exceptions, `{"type":"deny","securityLabel":[{"code":"`+label+`"}]}`)
	}
	nested := ""
	if exceptions != nil {
		nested = `,"provision":[` + strings.Join(exceptions, ",") + `]`
	}
	fmt.Fprintf(w, `{"resourceType":"Consent","id":"c%d","status":"%s","scope":{"coding":[{"code":"patient-privacy"}]},"category":[{"coding":[{"code":"59284-0"}]}],`+
		`"patient":{"reference":"Patient/%s"},"dateTime":"%s","policyRule":{"coding":[{"code":"%s"}]},`+
		`"provision":{"period":{"start":"%s","end":"%s"},"purpose":[{"code":"TREAT"},{"code":"HOPERAT"}]%s}}`+"\n", k, status, patient, from, base, start, to, nested)
}

// decider is for treatment, which asks for consent alone.
func (c *crowd) decider() *Decider {
	_ = c.treatment()
	d, err := NewDecider(c.req, c.tables)
	c.must(err)
	return d
}

// payer is for operations of a health plan, which also ask who is its member,
// and what the patients restricted: everybody is, and one in twenty paid for
// another visit.
func (c *crowd) payer() *Decider {
	w := newWorld(c.t).general(policies.DenyWithout)
	tables := *c.tables
	w.tables = &tables
	var members, restricted []string
	for i, id := range c.ids {
		members = append(members, fmt.Sprintf("%s,M%d,2020-01-01,", id, i))
		if i%20 == 0 {
			restricted = append(restricted, string(id)+",self-pay,,e9,,,,,,")
		}
	}
	d, err := NewDecider(w.roster(members...).restrict(restricted...).req, w.tables)
	w.must(err)
	return d
}

func TestACrowdIsDecidedAsItWasMade(t *testing.T) {
	for _, timed := range []bool{false, true} {
		c := newCrowd(t, 5000, timed)
		treatment, payer := c.decider(), c.payer()
		for i, id := range c.ids {
			f := ofCrowd(id)
			if got := treatment.Decide(&f).Reasons; (got == 0) != c.permits[i] {
				t.Fatalf("timed %v, patient %d: %s", timed, i, got.Names())
			}
			if got := payer.Decide(&f).Reasons; (got == 0) != c.permits[i] {
				t.Fatalf("timed %v, patient %d towards a payer: %s", timed, i, got.Names())
			}
		}
		f, i := ofCrowd(nil), 0
		if n := testing.AllocsPerRun(5000, func() { f.Subjects[0] = c.ids[i%5000]; payer.Decide(&f); i++ }); n != 0 {
			t.Errorf("%v allocations per decision", n)
		}
	}
}

// ofCrowd is a score of one of the crowd.
func ofCrowd(id []byte) extract.Facts {
	f := labelled(score(string(id), "2026-03-02"), "PSY")
	f.Encounter = phi.Bytes("e1")
	return f
}

// BenchmarkDecide decides records of a million patients with a million
// directives, on one core: patients at random, or eight records of each in a row;
// directives of which many say the same, or none.
func BenchmarkDecide(b *testing.B) {
	for _, timed := range []bool{false, true} {
		b.Run([]string{"shared", "distinct"}[boolByte(timed)], func(b *testing.B) {
			c := newCrowd(b, 1_000_000, timed)
			for _, way := range []struct {
				name    string
				decider func() *Decider
				group   int
			}{{"random", c.decider, 1}, {"grouped", c.decider, 8}, {"payer", c.payer, 1}} {
				d := way.decider()
				debug.FreeOSMemory()
				resident := resident()
				b.Run(way.name, func(b *testing.B) { c.bench(b, d, way.group, resident) })
			}
		})
	}
}

// bench has the facts of a record lie in one place, where the scanner's hot
// buffer has them too, and the ids one after the other, as they are read.
func (c *crowd) bench(b *testing.B, d *Decider, group int, resident float64) {
	const records = 1 << 20
	var ids []byte
	random, leave := rand.New(rand.NewPCG(3, 4)), make([]bool, 0, records)
	for len(leave) < records {
		patient := random.IntN(len(c.ids))
		for range group {
			ids, leave = append(ids, c.ids[patient]...), append(leave, c.permits[patient])
		}
	}
	f, size, at, wrong := ofCrowd(nil), len(c.ids[0]), 0, 0
	b.ReportAllocs()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := onCore()
	for b.Loop() {
		f.Subjects[0] = ids[at*size:][:size]
		if (d.Decide(&f).Reasons == 0) != leave[at] {
			wrong++
		}
		at = (at + 1) % records
	}
	if wrong > 0 {
		b.Fatalf("%d decided wrongly", wrong)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
	if busy := onCore() - before; busy > 0 {
		b.ReportMetric(float64(b.N)/busy, "decisions/s-on-core")
	}
	b.ReportMetric(c.seconds, "s-to-load")
	b.ReportMetric(c.each, "B/directive")
	b.ReportMetric(resident, "MiB-resident")
}

// onCore is for how many seconds a core has worked for this thread, which others
// on a busy machine do not change much; 0 where the system does not tell.
func onCore() float64 {
	status, _ := os.ReadFile("/proc/thread-self/schedstat")
	nanoseconds, _, _ := strings.Cut(string(status), " ")
	n, _ := strconv.Atoi(nanoseconds)
	return float64(n) / 1e9
}

// resident is the memory of this process in MiB, 0 where the system does not tell.
func resident() float64 {
	status, _ := os.ReadFile("/proc/self/status")
	_, after, _ := strings.Cut(string(status), "VmRSS:")
	kib, _ := strconv.Atoi(strings.TrimSpace(strings.SplitN(after, "kB", 2)[0]))
	return float64(kib) / 1024
}
