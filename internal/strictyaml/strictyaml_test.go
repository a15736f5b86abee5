package strictyaml

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

type plant struct {
	Name   string            `yaml:"name,required"`
	Code   string            `yaml:"code"`
	Count  int               `yaml:"count"`
	Large  int64             `yaml:"large"`
	Ratio  float64           `yaml:"ratio"`
	Share  Percent           `yaml:"share"`
	Alive  bool              `yaml:"alive"`
	Age    Duration          `yaml:"age"`
	From   Date              `yaml:"from"`
	To     Date              `yaml:"to"`
	Seen   time.Time         `yaml:"seen"`
	Tags   []string          `yaml:"tags"`
	Words  map[string]string `yaml:"words"`
	Beds   Ordered[bed]      `yaml:"beds"`
	Soil   *bed              `yaml:"soil"`
	Either oneOrMany         `yaml:"either"`
	Raw    Node              `yaml:"raw"`
	Sort   string            `yaml:"sort" words:"climbing|shrub"`
	Shades []string          `yaml:"shades" words:"red|white"`
	Prune  string            `yaml:"prune" words:"spring" why:"roses are pruned once"`
	Hidden string
}

type bed struct {
	Depth int    `yaml:"depth,required"`
	Note  string `yaml:"note"`
}

type oneOrMany []string

func (o *oneOrMany) UnmarshalNode(n Node) {
	if n.IsScalar() {
		*o = oneOrMany{n.Text()}
		return
	}
	n.Decode((*[]string)(o))
}

const right = `
name: "rose"
code: 44261-6
count: -12
large: 9000000000
ratio: 0.5
share: 10%
alive: yes
age: 35 days
from: 2026-01-31
to: open
seen: 2026-07-05T02:00:00-05:00
tags: [007, 1.10, yes, 2026-01-01]
words: {a: 1, "b c": two}
beds:
  south: {depth: 3}
  north: {depth: 4, note: cold}
soil: {depth: 1}
either: one
raw: {x: [1, 1.50, yes, true, null, "2"]}
`

func TestDecode(t *testing.T) {
	var p plant
	source, err := Decode("p.yaml", []byte(right), &p)
	if err != nil {
		t.Fatal(err)
	}
	if p.Name != "rose" || p.Code != "44261-6" || p.Count != -12 || p.Large != 9e9 || p.Ratio != 0.5 || p.Share != 0.1 || !p.Alive {
		t.Errorf("scalars: %+v", p)
	}
	if time.Duration(p.Age) != 35*24*time.Hour || p.From.String() != "2026-01-31" || !p.To.Open || p.Seen.UTC().Hour() != 7 {
		t.Errorf("times: %+v", p)
	}
	if strings.Join(p.Tags, " ") != "007 1.10 yes 2026-01-01" || p.Words["b c"] != "two" || p.Either[0] != "one" || p.Soil.Depth != 1 {
		t.Errorf("collections: %+v", p)
	}
	if len(p.Beds) != 2 || p.Beds[0].Key != "south" || p.Beds[1].Value.Note != "cold" || p.Beds[1].Path != "beds.north" {
		t.Errorf("order: %+v", p.Beds)
	}
	if e := p.Raw.Entries(); len(e) != 1 || len(e[0].Value.Items()) != 6 || e[0].Value.Items()[1].Text() != "1.50" {
		t.Errorf("raw: %v", e)
	}
	if at := source.At("beds.north.depth"); at != (Pos{17, 18}) {
		t.Errorf("At: %v", at)
	}
	if at := source.At(`words."b c".absent[3]`); at != source.At(`words."b c"`) || at.Line != 14 {
		t.Errorf("At of an absent path: %v", at)
	}
}

// Each file of testdata holds YAML and, after a line of ====, what Render says.
func TestWrong(t *testing.T) {
	files, _ := filepath.Glob("testdata/*.txt")
	if len(files) == 0 {
		t.Fatal("no files")
	}
	for _, file := range files {
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		text, want, _ := strings.Cut(string(whole), "====\n")
		var p plant
		var out strings.Builder
		_, err = Decode("p.yaml", []byte(text), &p)
		var list *Errors
		if errors.As(err, &list) {
			_ = list.Render(&out)
		}
		if out.String() == want {
			continue
		}
		if os.Getenv("UPDATE_GOLDEN") != "" {
			_ = os.WriteFile(file, []byte(text+"====\n"+out.String()), 0o644)
			continue
		}
		t.Errorf("%s: got\n%s", file, out.String())
	}
}

// Mistakes of an included file stand behind those of the file, each in its line.
func TestIncludedFile(t *testing.T) {
	var p, inner plant
	source, _ := Decode("garden.yaml", []byte("name: rose\ncount: many\n"), &p)
	included, _ := Decode("a-bed.yaml", []byte("count: 1\n"), &inner)
	errs := source.Errors()
	errs.Join(included.Errors())
	errs.Join(included.Errors())
	var out strings.Builder
	_ = errs.Err().(*Errors).Render(&out)
	at := strings.Index(out.String(), "a-bed.yaml:1:1: name: the key is missing\n    1 | count: 1\n")
	if first := strings.Index(out.String(), "garden.yaml:2:8: count"); first != 0 || at < first || len(errs.List) != 2 {
		t.Errorf("got %s", out.String())
	}
	if _, err := Decode("x.yaml", []byte("name: x\nsort: FILL IN\n"), &p, Drafts); err != nil {
		t.Error("a word still to be filled in:", err)
	}
}

func TestLimits(t *testing.T) {
	var p plant
	for name, text := range map[string]string{
		"levels deep": "raw: " + strings.Repeat("[", 40) + strings.Repeat("]", 40),
		"more than":   "name: " + strings.Repeat("x", MaxSize),
	} {
		if _, err := Decode("p.yaml", []byte(text), &p); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDrafts(t *testing.T) {
	text := "name: FILL IN the name\ncount: FILL IN a number\nsoil: FILL IN\n"
	var p plant
	source, err := Decode("p.yaml", []byte(text), &p, Drafts)
	if err != nil || len(source.Placeholders()) != 3 || !source.IsPlaceholder("count") || source.IsPlaceholder("code") {
		t.Fatalf("%v %v", err, source.Placeholders())
	}
	_, err = Decode("p.yaml", []byte(text), &p)
	var list *Errors
	if !errors.Is(err, ErrPlaceholder) || !errors.As(err, &list) || !list.Only(ErrPlaceholder) {
		t.Fatal(err)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"recipient", "release", "max_age", "because"}
	for name, want := range map[string]string{
		"reciepient": "recipient", "relaese": "release", "max-age": "max_age", "Because": "because", "zzz": "", "": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("Nearest(%q) = %q, want %q", name, got, want)
		}
	}
}

// Any duration made of a count and a unit reads back as that many units.
func TestDurations(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		count := rapid.Int64Range(0, 1000).Draw(t, "count")
		unit := rapid.SampledFrom([]string{"s", " seconds", "m", "h", " hours", " day", " days", " weeks"}).Draw(t, "unit")
		d, ok := ParseDuration(strconv.FormatInt(count, 10) + unit)
		if !ok || time.Duration(d) != time.Duration(count)*units[strings.TrimSpace(unit)] {
			t.Fatalf("%d%s: %v", count, unit, d)
		}
	})
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		text, _ := os.ReadFile(file)
		f.Add(text)
	}
	f.Add([]byte(right))
	f.Fuzz(func(t *testing.T, text []byte) {
		var p plant
		source, err := Decode("p.yaml", text, &p)
		var list *Errors
		if errors.As(err, &list) {
			if len(list.List) == 0 {
				t.Fatal("an error without a mistake")
			}
			_ = list.Render(&strings.Builder{})
			for _, m := range list.List {
				if m.Line < 1 || m.Column < 1 {
					t.Fatalf("no place: %v", m)
				}
				source.At(m.Path + ".x")
			}
		} else if p.Name == "" && !strings.Contains(string(text), "name") {
			t.Fatal("a missing required key went unnoticed")
		}
	})
}
