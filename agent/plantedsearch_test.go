package agent_test

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
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
