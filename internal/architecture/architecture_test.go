// Package architecture holds the shape of the house: which room may import
// which (docs/architecture.md), that every package says what it is for, and
// that every dependency is accounted for in docs/dependencies.md. It has
// tests only. The same import rule stands in .golangci.yml for the linter.
package architecture

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"
)

const (
	root   = "../.."
	module = "github.com/posternhealth/postern"
)

// rule says which other rooms a room may import, and why no others. Packages
// within a room may import each other, except that deid and deid/gate are two
// rooms, and agent and agent/build. Any room may import internal, which imports none.
type rule struct {
	may []string
	why string
}

var rules = map[string]rule{
	"internal":    {nil, "internal packages are leaves that any room may import: they import no room"},
	"extract":     {nil, "extract reads records and knows nothing of policies or of what becomes of them"},
	"policies":    {[]string{"extract"}, "policies know the classes of fields, not the engines that carry them out"},
	"consent":     {[]string{"extract", "policies"}, "consent decides without knowing how a record is transformed or sent"},
	"deid":        {[]string{"extract", "policies"}, "deid transforms without knowing who consented, and shares no code with the gate"},
	"deid/gate":   {nil, "the gate checks the engine's output, so it shares no parsing and no plan code with it"},
	"transfer":    {nil, "transfer moves sealed bytes and must not know what is in them"},
	"ledger":      {nil, "the ledger records events and must not know about records"},
	"agent/build": {[]string{"extract", "policies", "consent", "deid", "deid/gate", "transfer"}, "a build makes a drop of what it is given, and knows neither configuration nor state"},
	"agent":       {[]string{"extract", "policies", "consent", "deid", "deid/gate", "transfer", "ledger", "agent/build"}, "agent composes the rooms; only cmd stands above it"},
	"cmd":         {[]string{"extract", "policies", "consent", "deid", "deid/gate", "transfer", "ledger", "agent/build", "agent"}, "cmd is words and flags on top of everything"},
}

var vagueNames = []string{"util", "utils", "common", "helper", "helpers", "types", "model", "models"}

type file struct {
	path string // slash path from the module's root
	ast  *ast.File
}

func (f file) dir() string  { return path.Dir(f.path) }
func (f file) test() bool   { return strings.HasSuffix(f.path, "_test.go") }
func (f file) room() string { return roomOf(f.dir()) }

func (f file) imports() []string {
	var list []string
	for _, spec := range f.ast.Imports {
		p, _ := strconv.Unquote(spec.Path.Value) // the parser has checked it
		list = append(list, p)
	}
	return list
}

// roomOf finds the room that a package of the module lies in.
func roomOf(dir string) string {
	for at := dir; at != "."; at = path.Dir(at) {
		if _, found := rules[at]; found {
			return at
		}
	}
	return ""
}

// files parses every Go file as far as its imports.
func files(t *testing.T) []file {
	t.Helper()
	var all []file
	err := filepath.WalkDir(root, func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if hidden := strings.HasPrefix(entry.Name(), ".") && name != root; hidden || entry.Name() == "testdata" {
			if entry.IsDir() {
				return fs.SkipDir
			}
			return nil
		}
		if entry.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		inside, err := filepath.Rel(root, name)
		all = append(all, file{filepath.ToSlash(inside), parsed})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// forbidden gives the reason why a package of one room may not import one of
// another, or nothing when it may.
func forbidden(from, to string) string {
	if from == to || to == "internal" || slices.Contains(rules[from].may, to) {
		return ""
	}
	return rules[from].why
}

func TestImportsPointOneWay(t *testing.T) {
	for _, f := range files(t) {
		if f.room() == "" {
			t.Errorf("%s lies in no room: add the room to the rules with its reason, or move the file", f.path)
			continue
		}
		for _, p := range f.imports() {
			inside, ours := strings.CutPrefix(p, module+"/")
			if !ours {
				continue
			}
			if why := forbidden(f.room(), roomOf(inside)); why != "" {
				t.Errorf("%s must not import %s: %s", f.path, p, why)
			}
		}
	}
}

// The order of the rooms is a promise too: no two may import each other.
func TestRulesHaveNoCycle(t *testing.T) {
	var reaches func(from, to string, depth int) bool
	reaches = func(from, to string, depth int) bool {
		return depth < len(rules) && slices.ContainsFunc(rules[from].may, func(next string) bool {
			return next == to || reaches(next, to, depth+1)
		})
	}
	for room := range rules {
		if reaches(room, room, 0) {
			t.Errorf("%s may import itself through others", room)
		}
	}
}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	comments, names := map[string]string{}, map[string]string{}
	onlyTests := map[string]bool{}
	for _, f := range files(t) {
		dir := f.dir()
		if _, seen := onlyTests[dir]; !seen {
			onlyTests[dir] = true
		}
		onlyTests[dir] = onlyTests[dir] && f.test()
		if !f.test() || names[dir] == "" {
			names[dir] = f.ast.Name.Name
		}
		if doc := f.ast.Doc.Text(); doc != "" && (!f.test() || comments[dir] == "") {
			comments[dir] = doc
		}
	}
	for dir, name := range names {
		if slices.Contains(vagueNames, name) || slices.Contains(vagueNames, path.Base(dir)) {
			t.Errorf("%s: package %s is named for nothing that it does", dir, name)
		}
		switch comment := comments[dir]; {
		case comment == "":
			t.Errorf("%s: package %s has no comment; say what it is for, what it promises and which specification it follows", dir, name)
		case name != "main" && !strings.HasPrefix(comment, "Package "+strings.TrimSuffix(name, "_test")+" "):
			t.Errorf("%s: the package comment must begin with %q", dir, "Package "+name)
		}
	}
}

// The linter's rules are held against the ones here.
func TestLinterSaysTheSame(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, ".golangci.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		Linters struct {
			Settings struct {
				Depguard struct {
					Rules map[string]struct {
						Files []string `yaml:"files"`
						Deny  []struct {
							Pkg  string `yaml:"pkg"`
							Desc string `yaml:"desc"`
						} `yaml:"deny"`
					} `yaml:"rules"`
				} `yaml:"depguard"`
			} `yaml:"settings"`
		} `yaml:"linters"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	for room, r := range rules {
		var want []string
		for other := range rules {
			if forbidden(room, other) != "" {
				want = append(want, module+"/"+other)
			}
		}
		slices.Sort(want)
		var got []string
		for _, deny := range config.Linters.Settings.Depguard.Rules[strings.ReplaceAll(room, "/", "-")].Deny {
			got = append(got, strings.TrimSuffix(deny.Pkg, "$"))
			if deny.Desc != r.why {
				t.Errorf(".golangci.yml: %s: reason is %q; want %q", room, deny.Desc, r.why)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf(".golangci.yml: %s denies\n%q; want\n%q", room, got, want)
		}
	}
}

// Each module that the code imports has a line in docs/dependencies.md, and
// each line there is of a module that go.mod requires.
func TestDependenciesAreAccountedFor(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "docs", "dependencies.md"))
	if err != nil {
		t.Fatal(err)
	}
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	var listed []string
	for line := range strings.Lines(string(text)) {
		if cells := strings.Split(line, "|"); len(cells) > 2 && strings.HasPrefix(strings.TrimSpace(cells[1]), "`") {
			listed = append(listed, strings.Trim(cells[1], " `"))
		}
	}
	for _, f := range files(t) {
		for _, p := range f.imports() {
			host, _, _ := strings.Cut(p, "/")
			if !strings.Contains(host, ".") || p == module || strings.HasPrefix(p, module+"/") {
				continue
			}
			if !slices.ContainsFunc(listed, func(m string) bool { return p == m || strings.HasPrefix(p, m+"/") }) {
				t.Errorf("%s imports %s, which has no line in docs/dependencies.md", f.path, p)
			}
		}
	}
	for _, name := range listed {
		if !strings.Contains(string(gomod), "\t"+name+" v") {
			t.Errorf("docs/dependencies.md lists %s, which go.mod does not require", name)
		}
	}
}

// Size is judged by people, not by a number: this prints what each room has
// without tests (go test -v), and fails only where nothing was counted.
func TestSizeIsPrinted(t *testing.T) {
	type size struct{ lines, code int }
	rooms := map[string]size{}
	var total size
	for _, f := range files(t) {
		if f.test() {
			continue
		}
		text, err := os.ReadFile(filepath.Join(root, f.path))
		if err != nil {
			t.Fatal(err)
		}
		s := rooms[f.room()]
		for line := range strings.Lines(string(text)) {
			s.lines, total.lines = s.lines+1, total.lines+1
			if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "//") {
				s.code, total.code = s.code+1, total.code+1
			}
		}
		rooms[f.room()] = s
	}
	for _, room := range slices.Sorted(maps.Keys(rooms)) {
		t.Logf("%-10s %6d lines, %6d of them code", room, rooms[room].lines, rooms[room].code)
	}
	t.Logf("%-10s %6d lines, %6d of them code", "total", total.lines, total.code)
	if total.lines == 0 {
		t.Error("no Go file was found")
	}
}
