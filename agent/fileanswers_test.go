package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// eachFile is a recipient that answers each file of a drop on its own.
type eachFile struct {
	*house
	files  []string   // as they were sent
	keys   [][]string // of their rows
	second int
}

func answersEachFile(t *testing.T, bare bool, files ...transfer.ResponseFile) *eachFile {
	t.Helper()
	f := &eachFile{house: build(t, synthetic.Options{Patients: 40})}
	if bare {
		f.bare("CV_{dataset}_{sequence}_{part:2}.csv.age", "reuse: never")
	}
	f.destined(scores, "max_rows: 20")
	f.run(scores, agent.RunOptions{AsOf: day(wholeYear)})
	f.deliver(scores)
	archived := f.archived(scores, 1)
	page, err := f.agent.Drop(context.Background(), scores, 1)
	f.must(err)
	for i, text := range archived {
		lines := strings.Split(strings.TrimSpace(string(text)), "\n")
		if !strings.HasPrefix(lines[0], "member_id") || len(lines) == 1 {
			continue
		}
		var keys []string
		for _, line := range lines[1:] {
			keys = append(keys, line[strings.LastIndexByte(line, ',')+1:])
		}
		f.files, f.keys = append(f.files, page.Files[i].Name), append(f.keys, keys)
	}
	if len(f.files) < 3 {
		t.Fatalf("%d files", len(f.files))
	}
	r := f.agent.Config.Recipients[synthetic.HealthPlan]
	r.Receipt = agent.ReceiptConfig{Mode: "response-file", Files: files}
	f.agent.Config.Recipients[synthetic.HealthPlan] = r
	return f
}

// lay lays an answer, written at a second of its own, and takes it.
func (f *eachFile) lay(name, text string) error {
	f.t.Helper()
	f.second++
	path := filepath.Join(f.world.Recipient(synthetic.HealthPlan).Dir, "receipts", name)
	f.must(os.WriteFile(path, []byte(text), 0o600))
	at := noon.Add(time.Duration(f.second)*time.Second - time.Hour)
	f.must(os.Chtimes(path, at, at))
	_, err := f.agent.Reconcile(context.Background(), scores)
	return err
}

// says is the state of the drop, and what the recipient says of its rows.
func (f *eachFile) says() string {
	f.t.Helper()
	page, err := f.agent.Drop(context.Background(), scores, 1)
	f.must(err)
	return fmt.Sprint(page.State, " ", page.Recipients.Rows, " ", page.Recipients.Refused)
}

// rows is an answer that takes so many rows of a file and refuses the others.
func (f *eachFile) rows(file, taken int) string {
	var text strings.Builder
	for i, key := range f.keys[file] {
		fmt.Fprintf(&text, "%s,%s\n", key, map[bool]string{true: "00", false: "20"}[i < taken])
	}
	return text.String()
}

var rowsOfAFile = transfer.ResponseFile{Match: "{file}.rsp", Format: "csv", Key: "1", Code: "2", Codes: map[string]string{"00": "accepted", "20": "rejected"}}

// A drop is acknowledged when each of its files was; what one answer refuses stays
// refused until a later one about that file takes it, whatever is said of others.
func TestAnswersAboutEachFile(t *testing.T) {
	t.Parallel()
	for _, bare := range []bool{true, false} {
		f := answersEachFile(t, bare, rowsOfAFile)
		total, before := 0, f.says()
		answer := func(file, taken int) {
			t.Helper()
			stem, _, _ := strings.Cut(strings.TrimSuffix(f.files[file], ".age"), map[bool]string{true: ".csv", false: ".zst"}[bare])
			f.must(f.lay([]string{stem, f.files[file]}[file%2]+".rsp", f.rows(file, taken)))
		}
		for i := range f.files {
			if state := strings.Fields(f.says())[0]; state != strings.Fields(before)[0] {
				t.Errorf("with %d of %d files answered the drop is %s", i, len(f.files), state)
			}
			total += len(f.keys[i])
			answer(i, len(f.keys[i]))
		}
		if got, want := f.says(), fmt.Sprint("acknowledged ", total, " 0"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		answer(1, 3)
		refused := len(f.keys[1]) - 3
		if got, want := f.says(), fmt.Sprint("partly-rejected ", total-refused, " ", refused); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		answer(2, 0)
		refused += len(f.keys[2])
		if got, want := f.says(), fmt.Sprint("partly-rejected ", total-refused, " ", refused); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for i := range f.files {
			answer(i, 0)
		}
		if got, want := f.says(), fmt.Sprint("rejected 0 ", total); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		for i := range f.files {
			answer(i, len(f.keys[i]))
		}
		if got, want := f.says(), fmt.Sprint("acknowledged ", total, " 0"); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if open, err := f.agent.Differences(context.Background(), scores, 0); err != nil || len(open) > 0 {
			t.Errorf("%d differences are open: %v", len(open), err)
		}
		last := len(f.files) - 1 // it has fewer rows
		f.must(f.lay(f.files[0]+".rsp", f.rows(last, len(f.keys[last]))))
		if got := strings.Fields(f.says())[0]; got != "differing" {
			t.Errorf("rows of another file: %s", got)
		}
	}
}

// A verdict is one on its file; a name that no file has is answered by nobody.
func TestVerdictsAboutEachFile(t *testing.T) {
	t.Parallel()
	f := answersEachFile(t, true, transfer.ResponseFile{Match: "{sequence}-{file}.ok", Says: "accepted"}, transfer.ResponseFile{Match: "{file}.ok", Says: "accepted"}, transfer.ResponseFile{Match: "{file}.bad", Says: "rejected"})
	before := f.says()
	for _, name := range []string{"CV_scores_2_01.ok", "CV_score.ok", "CV_scores_1_1.bad"} {
		f.must(f.lay(name, ""))
	}
	if f.says() != before {
		t.Errorf("files that were never sent: %s", f.says())
	}
	if err := f.lay("1-CV_scores_2_01.ok", ""); agent.ExitCode(err) != int(agent.AnsweredNo) || !strings.Contains(err.Error(), "drop 1 has no file with rows that its name tells") {
		t.Errorf("a file of another drop: %v", err)
	}
	for i, name := range f.files {
		f.must(f.lay(name+".bad", ""))
		want := "partly-rejected"
		if i == len(f.files)-1 {
			want = "rejected"
		}
		if state := strings.Fields(f.says())[0]; state != want {
			t.Errorf("%d rejected files of %d: %s", i+1, len(f.files), state)
		}
	}
	for _, name := range f.files {
		f.must(f.lay(name+".ok", ""))
	}
	if state := strings.Fields(f.says())[0]; state != "acknowledged" {
		t.Errorf("at last: %s", state)
	}
}
