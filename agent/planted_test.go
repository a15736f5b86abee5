package agent_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/posternhealth/postern/agent"
)

// plantedPaths says of every leaf that shared data's population has whether
// its value tells who somebody is. State, country and the kept birth year are
// released; the rest of the harmless ones are codes and constants.
var plantedPaths = map[string]bool{
	"id": true, "text.div": true, "birthDate": true, "deceasedDateTime": true,
	"name.family": true, "name.given": true, "name.prefix": true, "name.suffix": true,
	"identifier.value": true, "telecom.value": true,
	"address.line": true, "address.city": true, "address.postalCode": true,
	"address.extension.extension.valueDecimal": true, // coordinates
	"extension.valueString":                    true, // mother's maiden name
	"extension.valueAddress.city":              true, // birth place
	"extension.valueAddress.state":             true, // of it, where it is abroad
	"extension.valueDecimal":                   true, // years lived and lost, to 15 digits

	"resourceType": false, "gender": false, "meta.profile": false, "text.status": false, "multipleBirthInteger": false,
	"name.use": false, "telecom.system": false, "telecom.use": false,
	"identifier.system": false, "identifier.type.text": false,
	"identifier.type.coding.code": false, "identifier.type.coding.display": false, "identifier.type.coding.system": false,
	"address.state": false, "address.country": false, "address.extension.url": false, "address.extension.extension.url": false,
	"extension.url": false, "extension.extension.url": false, "extension.valueCode": false, "extension.valueAddress.country": false,
	"extension.extension.valueString": false, "extension.extension.valueCoding.code": false, // race, ethnicity
	"extension.extension.valueCoding.display": false, "extension.extension.valueCoding.system": false,
	"maritalStatus.text": false, "maritalStatus.coding.code": false, "maritalStatus.coding.display": false, "maritalStatus.coding.system": false,
	"communication.language.text": false, "communication.language.coding.code": false, "communication.language.coding.display": false, "communication.language.coding.system": false,
}

var personSeed = regexp.MustCompile(`Person seed: (-?[0-9]+)`)

// plantedValues gathers the identifying values of a population.
func plantedValues(t testing.TB, source []byte) (values map[string]bool, people []map[string]any) {
	t.Helper()
	values = map[string]bool{}
	decoder := json.NewDecoder(bytes.NewReader(source))
	decoder.UseNumber() // a coordinate is searched as it is written
	for {
		var person map[string]any
		if err := decoder.Decode(&person); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		people = append(people, person)
		plantLeaves(t, values, "", person)
	}
	delete(values, "Kansas") // the state of birth of most, and a state
	return values, people
}

func plantLeaves(t testing.TB, values map[string]bool, path string, v any) {
	t.Helper()
	switch v := v.(type) {
	case map[string]any:
		for name, member := range v {
			plantLeaves(t, values, strings.TrimPrefix(path+"."+name, "."), member)
		}
	case []any:
		for _, element := range v {
			plantLeaves(t, values, path, element)
		}
	case string, json.Number:
		identifies, known := plantedPaths[path]
		text := fmt.Sprint(v)
		switch {
		case !known:
			t.Fatalf("nobody has said whether %s identifies", path)
		case path == "text.div":
			text = personSeed.FindStringSubmatch(text)[1]
			fallthrough
		case identifies:
			values[text] = true
		}
	}
}

// search finds many values in one pass, in whichever case they are written.
// Values of eight bytes and more are found wherever they stand; shorter ones
// as whole words, since in digests and codes they come up by chance.
type search struct {
	starts map[[4]byte][]plant
}

type plant struct{ folded, value string }

const (
	shortestPlant = 4
	longPlant     = 8
)

func newSearch(values map[string]bool) *search {
	s := &search{starts: map[[4]byte][]plant{}}
	for value := range values {
		forms := map[string]bool{}
		for _, form := range []string{value, strings.ToLower(value), strings.ToUpper(value)} {
			forms[string(foldCase([]byte(form)))] = true
		}
		for form := range forms {
			start := [4]byte([]byte(form))
			s.starts[start] = append(s.starts[start], plant{form, value})
		}
	}
	return s
}

// foldCase makes ASCII letters small and leaves every other byte.
func foldCase(b []byte) []byte {
	folded := make([]byte, len(b))
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			c += 'a' - 'A'
		}
		folded[i] = c
	}
	return folded
}

// in gives the values that data holds; only long ones when the data is random.
func (s *search) in(data []byte, random bool) map[string]bool {
	found := map[string]bool{}
	data = foldCase(data)
	for i := 0; i+shortestPlant <= len(data); i++ {
		for _, p := range s.starts[[4]byte(data[i:])] {
			if !bytes.HasPrefix(data[i:], []byte(p.folded)) || found[p.value] {
				continue
			}
			if long := len(p.folded) >= longPlant; long || !random && wholeWord(data, i, i+len(p.folded)) {
				found[p.value] = true
			}
		}
	}
	return found
}

func wholeWord(data []byte, from, to int) bool {
	return (from == 0 || !alphanumeric(data[from-1])) && (to == len(data) || !alphanumeric(data[to]))
}

func alphanumeric(c byte) bool { return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' }

// plantedWorld is the population with its values, and the search for them.
type plantedWorld struct {
	source []byte
	people []map[string]any
	values map[string]bool
	search *search
	forms  *search // with other forms of the same values
}

func newPlantedWorld(t testing.TB) *plantedWorld {
	t.Helper()
	packed, err := os.ReadFile(filepath.Join(sharedFolder(t, "population"), "Patient.000.ndjson.gz"))
	must(t, err)
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	must(t, err)
	w := &plantedWorld{}
	w.source, err = io.ReadAll(plain)
	must(t, err)
	w.values, w.people = plantedValues(t, w.source)
	var short []string
	for value := range w.values {
		if len(value) < shortestPlant {
			short = append(short, value)
			delete(w.values, value)
		}
	}
	slices.Sort(short)
	w.search = newSearch(w.values)
	w.forms = newSearch(w.unpunctuated())
	t.Logf("%d people, %d identifying values; not searched, being under %d characters: %q", len(w.people), len(w.values), shortestPlant, short)
	return w
}

// unpunctuated adds social security and telephone numbers as others write
// them.
func (w *plantedWorld) unpunctuated() map[string]bool {
	all := maps.Clone(w.values)
	dashed := regexp.MustCompile(`^[0-9]{3}-[0-9]{2,3}-[0-9]{4}$`)
	for value := range w.values {
		if dashed.MatchString(value) {
			all[strings.ReplaceAll(value, "-", "")] = true
		}
	}
	return all
}

// none fails when data holds a planted value. It names the kind of place, and
// of the value its length: test logs are output too.
func (w *plantedWorld) none(t testing.TB, where string, data []byte, random bool) {
	t.Helper()
	for value := range w.forms.in(data, random) {
		t.Errorf("%s holds an identifying value of %d characters (%s)", where, len(value), shape(value))
	}
}

// shape writes a value without what it says.
func shape(value string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case '0' <= r && r <= '9':
			return '9'
		case r > ' ' && !strings.ContainsRune("-.:,/", r):
			return 'a'
		}
		return r
	}, value)
}

// noneBelow searches every file below a folder.
func (w *plantedWorld) noneBelow(t testing.TB, dir string) (files int) {
	t.Helper()
	must(t, filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if errors.Is(err, os.ErrNotExist) {
			return nil // a run goes on meanwhile
		}
		if err != nil {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		w.none(t, "the name of "+filepath.Base(dir)+"/"+name, []byte(name), false)
		if d.IsDir() {
			return nil
		}
		data, err := os.ReadFile(path)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		files++
		w.none(t, name, data, isRandom(name))
		return err
	}))
	return files
}

// isRandom tells of files in which four bytes come up by chance: ciphertext,
// and the database, which keeps ciphertext. What the database has as text is
// searched by noneInDatabase.
func isRandom(name string) bool {
	return strings.HasSuffix(name, ".age") || strings.Contains(name, "postern.db") || strings.HasPrefix(name, "scratch"+string(filepath.Separator)) ||
		strings.Contains(name, string(filepath.Separator)+"scratch"+string(filepath.Separator))
}

// noneInDatabase searches every cell of every table for all values.
func (w *plantedWorld) noneInDatabase(t testing.TB, state string) {
	t.Helper()
	dir := t.TempDir()
	must(t, os.CopyFS(filepath.Join(dir, "state"), os.DirFS(state)))
	db, err := sql.Open("sqlite", filepath.Join(dir, "state", "postern.db"))
	must(t, err)
	defer db.Close()
	names, err := columns(db, `SELECT name, sql FROM sqlite_schema`, 0)
	must(t, err)
	tables, err := columns(db, `SELECT name FROM sqlite_schema WHERE type = 'table'`, 0)
	must(t, err)
	cells := 0
	for _, table := range tables {
		found, err := columns(db, `SELECT * FROM "`+string(table)+`"`, -1)
		must(t, err)
		cells += len(found)
		for _, cell := range found {
			w.none(t, "table "+string(table), cell, !utf8.Valid(cell))
		}
	}
	if len(names) == 0 || cells < 10 {
		t.Errorf("the state has %d cells in %d tables: the search has not looked at it", cells, len(tables))
	}
}

// columns gives one column of every row, or all columns when it is negative.
func columns(db *sql.DB, query string, only int) (cells [][]byte, err error) {
	rows, err := db.Query(query)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	names, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values, targets := make([]sql.NullString, len(names)), make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return nil, err
		}
		for i, v := range values {
			if only < 0 || only == i {
				cells = append(cells, []byte(v.String))
			}
		}
	}
	return cells, rows.Err()
}

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
		"check --proof", "plan planted --as-of 2026-06-30", "plan planted --as-of 2026-06-30 --json", "run planted --as-of 2026-06-30",
		"run planted --as-of 2026-06-30 --json", "status", "status --json", "schedule", "drops list planted", "drops show planted 1",
		"drops show planted 1 --json", "reconcile", "ledger verify", "ledger show", "ledger export", "keys show",
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
		{"a street where a state should be", replaced(`"state":"KS"`, `"state":"847 Tremblay Crossroad"`), nil, 16, "gate"},
		{"garbled registry", w.source, func(c *sharedClinic) {
			must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte("patient,scope,decision,status\n"+family+","+family+",deny\n"), 0o600))
		}, 17, "consents.csv:2"},
		{"unknown word in the registry", w.source, func(c *sharedClinic) {
			must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte("patient,scope,decision,status\n"+family+",general,"+family+",active\n"), 0o600))
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
			w.noneBelow(t, filepath.Join(clinic.dir, "state"))
			w.noneBelow(t, clinic.inbox)
			w.noneBelow(t, temp)
			if entries, err := os.ReadDir(clinic.inbox); err != nil || len(entries) > 0 {
				t.Errorf("%d files have left (%v)", len(entries), err)
			}
		})
	}
}
