package agent_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/agent"
)

// clinic lays the given population out as an extract beside the configuration.
func (w *plantedWorld) clinic(t testing.TB, source []byte) *sharedClinic {
	t.Helper()
	c := newSharedClinic(t, sharedSource("extract", "", sharedNDJSON)+"\n", map[string]string{"planted": "planted.yaml"},
		"patient,scope,decision,status\n")
	text, err := os.ReadFile(c.config)
	must(t, err)
	text = bytes.Replace(text, []byte("{stable_for: 1 second}"), []byte("{marker: _COMPLETE}"), 1)
	must(t, os.WriteFile(c.config, text, 0o600))
	folder := filepath.Join(c.dir, "extract")
	must(t, os.Mkdir(folder, 0o700))
	must(t, os.WriteFile(filepath.Join(folder, "Patient.ndjson"), source, 0o600))
	must(t, os.WriteFile(filepath.Join(folder, "_COMPLETE"), nil, 0o600))
	return c
}

// The search finds every value in the source, in whichever case, so that
// finding none elsewhere says something.
func TestSearchFindsWhatIsPlanted(t *testing.T) {
	w := newPlantedWorld(t)
	for _, c := range []struct {
		name string
		text []byte
	}{{"as it is", w.source}, {"in capitals", bytes.ToUpper(w.source)}, {"in small letters", bytes.ToLower(w.source)}} {
		found := w.search.in(c.text, false)
		for value := range w.values {
			if !found[value] {
				t.Errorf("%s: a value of the source is not found: %s", c.name, shape(value))
			}
		}
	}
	long := 0
	for value := range w.values {
		if len(value) >= longPlant {
			long++
		}
	}
	if got := len(w.search.in(w.source, true)); got != long {
		t.Errorf("%d long values found among random bytes, want %d", got, long)
	}
	if len(w.people) != 1144 || len(w.values) < 10*1144 {
		t.Errorf("%d people with %d values", len(w.people), len(w.values))
	}
}

// A Safe Harbor run within this process: what it logs at the finest level, the
// state folder at every stage while it runs, scratch with it, and all that is
// left, hold nothing of anybody; the recipient has a row for each person.
func TestPlantedValuesStayInTheSource(t *testing.T) {
	w := newPlantedWorld(t)
	c := w.clinic(t, w.source)
	var log bytes.Buffer
	c.open(t, &log)
	state := filepath.Join(c.dir, "state")
	scratch, last := 0, ""
	outcome, err := c.agent.Run(t.Context(), "planted", agent.RunOptions{AsOf: sharedDay(t, "2026-06-30"), Progress: func(stage string, _ int64) {
		if stage != last {
			last = stage
			w.noneBelow(t, state)
			scratch += w.noneHeldOpen(t, filepath.Join(state, "scratch"))
		}
	}})
	must(t, err)
	if scratch == 0 && runtime.GOOS == "linux" {
		t.Error("there was nothing in scratch at any stage: the search has not seen the spool")
	}
	_, err = c.agent.Deliver(t.Context(), "planted")
	must(t, err)
	answer, err := json.Marshal(outcome)
	must(t, err)
	w.none(t, "the outcome", answer, false)
	w.none(t, "the log", log.Bytes(), false)
	if files := w.noneBelow(t, state) + w.noneBelow(t, c.inbox); files < 15 {
		t.Errorf("only %d files were searched", files)
	}
	w.noneInDatabase(t, state)
	plain, result := c.receive(t, "e1")
	book, err := json.Marshal(result.Book)
	must(t, err)
	w.none(t, "the recipient's book", book, false)
	w.everybody(t, plain)
}

// noneHeldOpen searches the files below a folder that are open but no longer
// named, as the spool is, and gives their size.
func (w *plantedWorld) noneHeldOpen(t testing.TB, dir string) (size int) {
	t.Helper()
	const open = "/proc/self/fd"
	entries, _ := os.ReadDir(open)
	for _, e := range entries {
		target, _ := os.Readlink(filepath.Join(open, e.Name()))
		if !strings.HasPrefix(target, dir) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(open, e.Name()))
		must(t, err)
		size += len(data)
		w.none(t, "a file in scratch", data, true)
	}
	return size
}

// everybody holds the recipient's rows against the people: one row each, with
// sex, race, state and year of birth, and nothing planted.
func (w *plantedWorld) everybody(t testing.TB, plain [][]byte) {
	t.Helper()
	const oldest, asOf = 1936, "1936-06-30" // who was born by then is 90 or older on 2026-06-30
	want := map[string]int{}
	for _, p := range w.people {
		birth := p["birthDate"].(string)
		year := birth[:4]
		if birth <= asOf {
			year = fmt.Sprint(oldest)
		}
		state := p["address"].([]any)[0].(map[string]any)["state"]
		want[fmt.Sprint(p["gender"], " ", raceOf(p), " ", year, " ", state)]++
	}
	rows := 0
	zip := regexp.MustCompile(`^[0-9]{3}$`)
	for _, part := range plain {
		w.none(t, "the decrypted output", part, false)
		for line := range strings.Lines(string(part)) {
			var p map[string]any
			must(t, json.Unmarshal([]byte(line), &p))
			rows++
			address := p["address"].([]any)[0].(map[string]any)
			want[fmt.Sprint(p["gender"], " ", raceOf(p), " ", p["birthDate"], " ", address["state"])]--
			if code, _ := address["postalCode"].(string); !zip.MatchString(code) {
				t.Errorf("row %d has a postal code that is not three digits", rows)
			}
		}
	}
	if rows != 1144 {
		t.Errorf("%d rows, want 1144", rows)
	}
	for who, n := range want {
		if n != 0 {
			t.Errorf("%s: %d more people than rows", who, n)
		}
	}
}

func raceOf(p map[string]any) string {
	for _, e := range p["extension"].([]any) {
		if e := e.(map[string]any); strings.HasSuffix(e["url"].(string), "us-core-race") {
			return fmt.Sprint(e["extension"].([]any)[0].(map[string]any)["valueCoding"].(map[string]any)["code"])
		}
	}
	return ""
}

// plantedBinary builds the real command.
func plantedBinary(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "postern")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", path, "../cmd/postern").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	return path
}

// command runs one command line with a folder for temporary files of
// its own, and gives all it wrote.
func (w *plantedWorld) command(t testing.TB, binary string, c *sharedClinic, temp string, args ...string) (output []byte, code int) {
	t.Helper()
	cmd := exec.CommandContext(context.Background(), binary, append(args, "--config", c.config)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Dir = temp
	output, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	w.none(t, "postern "+strings.Join(args, " "), output, false)
	return output, cmd.ProcessState.ExitCode()
}

// The same by the real command, in every answer it has about a run.
func TestPlantedValuesAreInNoAnswer(t *testing.T) {
	w := newPlantedWorld(t)
	c := w.clinic(t, w.source)
	binary, temp := plantedBinary(t), t.TempDir()
	for _, line := range []string{
		"check", "policy check planted", "policy explain planted", "plan planted --as-of 2026-06-30", "plan planted --as-of 2026-06-30 --json", "run planted --as-of 2026-06-30",
		"run planted --as-of 2026-06-30 --json", "status", "status --json", "schedule", "drops list planted", "drops show planted 1",
		"drops show planted 1 --json", "drops book planted 1 --archive-key " + c.archive, "drops book planted 1 --json --archive-key " + c.archive,
		"drops book planted 1 --html --archive-key " + c.archive, "plan planted --as-of 2026-06-30 --book", "plan planted --as-of 2026-06-30 --html", "reconcile", "ledger verify", "ledger show", "ledger export", "keys show",
	} {
		output, code := w.command(t, binary, c, temp, strings.Fields(line)...)
		if code != 0 || len(output) == 0 {
			t.Errorf("postern %s ended with %d and %d bytes", line, code, len(output))
		}
		if strings.HasPrefix(line, "run") && !bytes.Contains(output, []byte("1144")) {
			t.Errorf("postern %s does not say 1144", line)
		}
	}
	w.noneBelow(t, filepath.Join(c.dir, "state"))
	w.noneBelow(t, c.inbox)
	w.noneBelow(t, temp)
	w.noneInDatabase(t, filepath.Join(c.dir, "state"))
	c.open(t, io.Discard)
	plain, _ := c.receive(t, "e1")
	w.everybody(t, plain)
	w.filtered(t, binary, c)
}

// filtered is `postern deid` over the same people.
func (w *plantedWorld) filtered(t testing.TB, binary string, c *sharedClinic) {
	t.Helper()
	policy, err := filepath.Abs("testdata/planted.yaml")
	must(t, err)
	cmd := exec.CommandContext(t.Context(), binary, "deid", "--policy", policy, "--dataset", "Patient", "--as-of", "2026-06-30")
	cmd.Stdin = bytes.NewReader(w.source)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err = cmd.Run()
	w.none(t, "stderr of deid", stderr.Bytes(), false)
	if err != nil {
		t.Fatalf("deid: %v: %s", err, stderr.Bytes())
	}
	w.everybody(t, [][]byte{stdout.Bytes()})
}

// What goes wrong is told without a value: lines that cannot be read, over and
// under the tolerance, a value that the gate stops, protective inputs and a
// configuration that are garbled with somebody's name in them.
func TestPlantedValuesAreInNoError(t *testing.T) {
	w := newPlantedWorld(t)
	binary := plantedBinary(t)
	first, rest, _ := bytes.Cut(w.source, []byte("\n"))
	family := w.people[0]["name"].([]any)[0].(map[string]any)["family"].(string)
	replaced := func(old, new string) []byte {
		line := bytes.Replace(first, []byte(old), []byte(new), 1)
		if bytes.Equal(line, first) {
			t.Fatalf("%s is not in the first line", old)
		}
		return slices.Concat(line, []byte("\n"), rest)
	}
	for _, c := range []struct {
		name   string
		source []byte
		spoil  func(*sharedClinic)
		code   int
		says   string
	}{
		{"cut line", slices.Concat(first[:len(first)*2/3], []byte("\n"), rest), nil, 16, "rejected"},
		{"doubled name", replaced(`"gender":`, `"birthDate":"1943-03-17","gender":`), nil, 16, "rejected"},
		{"not UTF-8", replaced(family, family+"\xff"), nil, 16, "rejected"},
		{"no id", replaced(`"id":"`, `"key":"`), nil, 16, "rejected"},
		{"unknown type", replaced(`"resourceType":"Patient"`, `"resourceType":"`+family+`"`), nil, 16, "rejected"},
		{"one id twice", slices.Concat(replaced(`"gender":"male"`, `"gender":"female"`), first, []byte("\n")), nil, 16, "rejected"},
		{"a name where a race should be", replaced(`"code":"2106-3"`, `"code":"`+family+`"`), nil, 16, "gate"},
		{"garbled registry", w.source, func(c *sharedClinic) {
			must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte("patient,scope,decision,status\n"+family+","+family+",deny\n"), 0o600))
		}, 17, "consents.csv:2"},
		{"unknown word in the registry", w.source, func(c *sharedClinic) {
			must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte("patient,scope,decision,status\n"+family+",general,"+family+",active\n"), 0o600))
		}, 0, "rows of protective inputs keep records back"},
		{"a row of nobody in the registry", w.source, func(c *sharedClinic) {
			must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte("patient,scope,decision,status\n,general,"+family+",active\n"), 0o600))
		}, 17, "consents.csv:2"},
	} {
		t.Run(c.name, func(t *testing.T) {
			clinic := w.clinic(t, c.source)
			if c.spoil != nil {
				c.spoil(clinic)
			}
			temp := t.TempDir()
			output, code := w.command(t, binary, clinic, temp, "run", "planted", "--as-of", "2026-06-30")
			if code != c.code || !bytes.Contains(output, []byte(c.says)) {
				t.Errorf("ended with %d, want %d and the word %q", code, c.code, c.says)
				if len(w.search.in(output, false)) == 0 {
					t.Logf("%s", output)
				}
			}
			w.command(t, binary, clinic, temp, "plan", "planted", "--json")
			w.command(t, binary, clinic, temp, "consent", "mend", "planted")
			w.noneBelow(t, filepath.Join(clinic.dir, "state"))
			w.noneBelow(t, clinic.inbox)
			w.noneBelow(t, temp)
			if entries, err := os.ReadDir(clinic.inbox); err != nil || len(entries) > 0 && c.code != 0 {
				t.Errorf("%d files have left (%v)", len(entries), err)
			}
		})
	}
}
