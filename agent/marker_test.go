package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// unnoted lets no note be written that tells of a file's arrival, until again is called.
func (h *house) unnoted(file string) (again func()) {
	h.t.Helper()
	h.exec(`CREATE TRIGGER unnoted BEFORE UPDATE OF arrived ON delivery WHEN instr(new.arrived, '"` + file + `"') BEGIN SELECT RAISE(ABORT, 'no note'); END`)
	return func() { h.exec(`DROP TRIGGER unnoted`) }
}

// markerHouse sends two files of a dataset, of which each has a marker, and a side folder
// that is not there yet.
func markerHouse(t *testing.T) (h *house, data, markers []string) {
	t.Helper()
	h = build(t, synthetic.Options{Patients: 40})
	h.bare("cv_{sequence}_{part}.age", "reuse: never, marker: \"{file}.done\", side_folder: statements")
	h.destined(scores, "max_rows: 100")
	h.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	page, err := h.agent.Drop(context.Background(), scores, 1)
	h.must(err)
	for _, f := range page.Files {
		switch {
		case strings.HasSuffix(f.Name, ".age.done"):
			markers = append(markers, f.Name)
		case strings.HasPrefix(f.Name, "cv_"):
			data = append(data, f.Name)
		}
	}
	if len(data) < 2 || len(data) != len(markers) {
		t.Fatalf("files are %v, markers are %v", data, markers)
	}
	return h, data, markers
}

// Markers come when all else is there and noted, the side folder's files too; where
// ever a delivery breaks off, none comes before, and none twice.
func TestMarkersComeLast(t *testing.T) {
	h, data, markers := markerHouse(t)
	side := filepath.Join(h.recipient(scores).Dir, "statements")
	there := func(doing string, want ...string) {
		t.Helper()
		if got := h.mailbox(); !slices.Equal(got, slices.Sorted(slices.Values(want))) {
			t.Errorf("%s: the mailbox has %v", doing, got)
		}
	}
	broken := func(doing string) {
		t.Helper()
		if _, err := h.agent.Deliver(context.Background(), scores); err == nil || h.state(scores, 1) != "uploading" {
			t.Errorf("%s: %v, the drop is %s", doing, err, h.state(scores, 1))
		}
	}
	for i, name := range data { // the first is noted by the second attempt, when it is there already
		again := h.unnoted(name)
		broken("before " + name + " is noted")
		there("before "+name+" is noted", data[:i+1]...)
		again()
	}
	broken("without the side folder")
	there("without the side folder", data...)
	h.must(os.Remove(filepath.Join(h.recipient(scores).Inbox(), data[0]))) // it was picked up
	h.must(os.Mkdir(side, 0o755))
	again := h.unnoted(markers[0])
	broken("before the first marker is noted")
	there("before the first marker is noted", append(data[1:], markers[0])...)
	if entries, err := os.ReadDir(side); err != nil || len(entries) != 5 {
		t.Errorf("a marker came before the side folder had all: %v, %v", entries, err)
	}
	again()
	first, err := os.Stat(filepath.Join(h.recipient(scores).Inbox(), markers[0]))
	h.must(err)
	again = h.unnoted(markers[len(markers)-1])
	broken("before the last marker is noted")
	h.must(os.Remove(filepath.Join(h.recipient(scores).Inbox(), markers[1]))) // picked up, and noted unless it is the last
	again()
	done := h.deliver(scores)
	if len(done) != 1 || done[0].State != "hash-verified" {
		t.Errorf("%+v", done)
	}
	want := append(slices.Clone(data[1:]), markers...)
	if len(markers) > 2 {
		want = slices.DeleteFunc(want, func(name string) bool { return name == markers[1] })
	}
	there("at last", want...)
	if last, err := os.Stat(filepath.Join(h.recipient(scores).Inbox(), markers[0])); err != nil || !os.SameFile(first, last) {
		t.Errorf("the first marker came twice: %v", err)
	}
	page, err := h.agent.Drop(context.Background(), scores, 1)
	h.must(err)
	if len(page.Evidence.Files) != len(page.Files) {
		t.Errorf("%d files of %d are known to have arrived", len(page.Evidence.Files), len(page.Files))
	}
}

// A drop whose files have arrived, and not its markers, is taken back like a drop
// without its .done.
func TestDropWithoutItsMarkersIsTakenBack(t *testing.T) {
	h, data, _ := markerHouse(t)
	if _, err := h.agent.Deliver(context.Background(), scores); err == nil || len(h.mailbox()) != len(data) {
		t.Fatalf("%v, the mailbox has %v", err, h.mailbox())
	}
	h.edit("postern.yaml", "{file}.done", "{file}.trg")
	if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.PolicyRefused {
		t.Errorf("under another marker, without approval: %v", err)
	}
	h.approve(scores)
	if done := h.deliver(scores); len(done) != 1 || done[0].Reason != "profile bare was changed after it was sealed" || len(h.mailbox()) != 0 {
		t.Errorf("%+v, the mailbox has %v", done, h.mailbox())
	}
}

// A delivery that another process has ended meanwhile sends nothing more, least of all
// the marker of files that were withdrawn.
func TestNoMarkerOfADropThatWasGivenUp(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: never, marker: \"{file}.done\"")
	h.run(scores, agent.RunOptions{})
	h.exec(`CREATE TRIGGER another AFTER UPDATE OF arrived ON delivery BEGIN UPDATE delivery SET state = 'voided'; END`)
	if _, err := h.agent.Deliver(context.Background(), scores); !strings.Contains(fmt.Sprint(err), "by another it is voided now") || !slices.Equal(h.mailbox(), []string{"scores_1.age"}) {
		t.Errorf("%v, the mailbox has %v", err, h.mailbox())
	}
}

// Where markers come again, nothing is sent while the earlier one stands; what
// stands there once the files have arrived is the drop's own.
func TestMarkersComeAgain(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: when-gone, marker: READY")
	ready := filepath.Join(h.recipient(scores).Inbox(), "READY")
	h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	h.must(os.Remove(filepath.Join(h.recipient(scores).Inbox(), "scores_1.age")))
	h.run(scores, agent.RunOptions{})
	for range 2 {
		if _, err := h.agent.Deliver(context.Background(), scores); classOf(err) != agent.DestinationDown || !strings.Contains(err.Error(), "another file has this name there") || !slices.Equal(h.mailbox(), []string{"READY"}) {
			t.Errorf("while the earlier one is there: %v, the mailbox has %v", err, h.mailbox())
		}
	}
	h.must(os.Remove(ready))
	again := h.unnoted("READY")
	if _, err := h.agent.Deliver(context.Background(), scores); err == nil || !slices.Equal(h.mailbox(), []string{"READY", "scores_2.age"}) {
		t.Errorf("before it is noted: %v, the mailbox has %v", err, h.mailbox())
	}
	again()
	if done := h.deliver(scores); len(done) != 1 || done[0].Number != 2 || done[0].State != "hash-verified" {
		t.Errorf("when it is there: %+v", done)
	}
	h.run(scores, agent.RunOptions{})
	if _, err := h.agent.Deliver(context.Background(), scores); err == nil {
		t.Error("sent while the earlier marker is there")
	}
	h.edit("postern.yaml", "marker: READY", "marker: GO")
	h.approve(scores)
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "voided" || !slices.Equal(h.mailbox(), []string{"READY", "scores_2.age"}) {
		t.Errorf("%+v, the mailbox has %v", done, h.mailbox())
	}
}

// A marker's name is used up as a file's is, the lowest version frees it, and where
// none can the run says so.
func TestMarkerNamesAreUsedOnce(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: never, marker: \"{date}.{version}.go\"")
	h.run(scores, agent.RunOptions{})
	h.run(scores, agent.RunOptions{})
	if names := h.query(`SELECT group_concat(name, ' ') FROM (SELECT name FROM file_name ORDER BY name)`); names != "20260705.1.go 20260705.2.go scores_1.age scores_2.age" {
		t.Errorf("names are %s", names)
	}
	h.edit("postern.yaml", "{date}.{version}.go", "{date}.1.go")
	h.edit("postern.yaml", "scores_{sequence}", "scores_{version}_{sequence}")
	h.approve(scores)
	if _, err := h.agent.Run(context.Background(), scores, agent.RunOptions{}); classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "a file called 20260705.1.go was sent") {
		t.Errorf("with a marker that was sent: %v", err)
	}
}

// Nobody is asked to answer a marker, and none of our own files is an answer.
func TestMarkersAreNoAnswers(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("CV_{sequence}.age", "reuse: never, marker: \"{file}.done\"")
	h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	r := h.agent.Config.Recipients[synthetic.HealthPlan]
	r.Receipt = agent.ReceiptConfig{Mode: "response-file", Files: []transfer.ResponseFile{{Match: "{file}.ack", Says: "accepted"}, {Match: "{file}.done", Says: "rejected"}}}
	h.agent.Config.Recipients[synthetic.HealthPlan] = r
	for _, c := range []struct{ file, state string }{{"CV_1.age.done.ack", "hash-verified"}, {"CV_1.age.done", "hash-verified"}, {"CV_1.age.ack", "acknowledged"}} {
		h.must(os.WriteFile(filepath.Join(h.recipient(scores).Dir, "receipts", c.file), nil, 0o600))
		if _, err := h.agent.Reconcile(context.Background(), scores); err != nil || h.state(scores, 1) != c.state {
			t.Errorf("after %s: %v, the drop is %s", c.file, err, h.state(scores, 1))
		}
	}
}

// What cannot be a marker is refused by its place.
func TestMarkerIsRefused(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: never, marker: \"{file}.done\"")
	good := h.read("postern.yaml")
	_, err := h.agent.Check()
	h.must(err)
	for _, c := range []struct{ old, new, why string }{
		{"{file}.done", "{name}.done", "recipients.acme-health-plan.bare.marker: {name} is no token"},
		{"{file}.done", "READY", "bare.marker: each drop would have the marker of the one before"},
		{"{file}.done", "{file}", "bare.marker: scores_1.age would be both a file and its marker"},
		{"{file}.done", "go/{file}", `bare.marker: "go/scores_1.age" is not a name`},
		{"{file}.done", "{environment}{file}", "bare.environment: the word of the environment stands in names"},
		{"scores_{sequence}", "{file}_{sequence}", "bare.name: {file} is the name of a file"},
		{"reuse: never", "reuse: never, max_name: 24", "bare.max_name: TEST-scores_9999.age.done has 25 characters, and 24 are taken"},
	} {
		h.write("postern.yaml", strings.Replace(good, c.old, c.new, 1))
		if _, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml")); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
	h.write("postern.yaml", strings.Replace(good, "{file}.done", "{environment}_{date}", 1))
	h.edit("postern.yaml", "reuse: never", "reuse: never, environment: {production: P, test: T}")
	h.open(hclog.NewNullLogger())
	if _, err := h.agent.Check(); err != nil {
		t.Errorf("the environment in the marker alone: %v", err)
	}
}
