package explain

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.yaml.in/yaml/v4"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// restating are clauses that may be left out and then hold all the same.
var restating = []string{"output.part2_rows", "people.relationship.if_ambiguous"}

// Every clause of every right policy stands on the page: changed, it changes
// the sentences that it is said to force and no other part of the policy can
// force alone; taken away, they go. And each sentence names only clauses that
// the file holds.
func TestEveryClauseIsExplained(t *testing.T) {
	for _, file := range list(t, right) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			b := &clauseBench{t: t, dir: t.TempDir()}
			if err := os.CopyFS(b.dir, os.DirFS(filepath.Dir(file))); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(b.dir, "texts", "other.txt"), []byte("another notice\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			b.begin(file)
			for _, c := range clausesIn(&b.root, "") {
				b.clause(c)
			}
			b.more(&b.root, "")
			for _, s := range sentencesOf(b.page) {
				b.sentence(s)
			}
		})
	}
}

// enough accepted changes of one clause, to keep the test short.
const enough = 3

// clauseBench tries out changes of one policy.
type clauseBench struct {
	t    *testing.T
	dir  string
	root yaml.Node
	page *Page
	// by clause, the pages that come of it changed, and of it taken away
	changed, without map[string][]*Page
}

func (b *clauseBench) begin(file string) {
	text, err := os.ReadFile(file)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := yaml.Unmarshal(text, &b.root); err != nil {
		b.t.Fatal(err)
	}
	b.changed, b.without = map[string][]*Page{}, map[string][]*Page{}
	if b.page = b.explain(); b.page == nil {
		b.t.Fatal("the policy itself is not right")
	}
}

// explain gives the page of the policy as it stands; nil when it is refused.
func (b *clauseBench) explain() *Page {
	text, err := yaml.Marshal(&b.root)
	if err != nil {
		b.t.Fatal(err)
	}
	file := filepath.Join(b.dir, "tried.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		b.t.Fatal(err)
	}
	p, err := policies.Load(file, testEnv(b.t))
	if err != nil {
		return nil
	}
	page, err := Of(p, testEnv(b.t))
	if err != nil {
		return nil
	}
	return page
}

// clause is one scalar of the file, or one key, and how to take it away.
type clause struct {
	path   string
	value  *yaml.Node // nil for a key that holds more than a scalar
	remove func() (restore func())
}

func clausesIn(n *yaml.Node, path string) (found []clause) {
	switch n.Kind {
	case yaml.DocumentNode:
		return clausesIn(n.Content[0], path)
	case yaml.MappingNode:
		for i := 0; i < len(n.Content); i += 2 {
			found = append(found, clauseAt(n, i, 2, strictyaml.Join(path, n.Content[i].Value))...)
		}
	case yaml.SequenceNode:
		for i := range n.Content {
			found = append(found, clauseAt(n, i, 1, fmt.Sprintf("%s[%d]", path, i))...)
		}
	}
	return found
}

func clauseAt(in *yaml.Node, i, width int, path string) []clause {
	value := in.Content[i+width-1]
	c := clause{path: path, remove: func() func() {
		all := in.Content
		in.Content = slices.Delete(slices.Clone(all), i, i+width)
		return func() { in.Content = all }
	}}
	if value.Kind == yaml.ScalarNode {
		c.value = value
	}
	return append([]clause{c}, clausesIn(value, path)...)
}

// clause holds one clause against the page.
func (b *clauseBench) clause(c clause) {
	restore := c.remove()
	if page := b.explain(); page != nil {
		b.without[c.path] = append(b.without[c.path], page)
		for _, s := range sentencesOf(page) {
			if slices.Contains(s.Clauses, c.path) && !strings.HasSuffix(c.path, "]") { // what follows in a list moves up
				b.t.Errorf("%s is taken away, and still forces: %s", c.path, s.Text)
			}
		}
		if page.said() == b.page.said() && !slices.Contains(restating, c.path) {
			b.t.Errorf("%s is taken away, and the page does not change", c.path)
		}
	}
	restore()
	if c.value == nil {
		return
	}
	was := c.value.Value
	for _, other := range otherValues(was) {
		if c.value.Value = other; other == was || len(b.changed[c.path]) == enough {
			continue
		}
		if page := b.explain(); page != nil {
			b.changed[c.path] = append(b.changed[c.path], page)
			if page.said() == b.page.said() {
				b.t.Errorf("%s is changed to %s, and the page does not change", c.path, other)
			}
		}
	}
	c.value.Value = was
	if !slices.ContainsFunc(sentencesOf(b.page), func(s Sentence) bool { return covers(s.Clauses, c.path) }) && c.path != everyPolicy {
		b.t.Errorf("no sentence is made from %s", c.path)
	}
}

// covers tells whether one of the clauses is the path or encloses it.
func covers(clauses []string, path string) bool {
	return slices.ContainsFunc(clauses, func(c string) bool {
		return c == path || strings.HasPrefix(path, c+".") || strings.HasPrefix(path, c+"[")
	})
}

// more adds fields to each dataset: what never leaves is said for what the
// policy does not name.
func (b *clauseBench) more(n *yaml.Node, path string) {
	for i, inner := range n.Content {
		if n.Kind == yaml.DocumentNode {
			b.more(inner, path)
		} else if n.Kind == yaml.MappingNode && i%2 == 1 {
			b.more(inner, strictyaml.Join(path, n.Content[i-1].Value))
		}
	}
	if !strings.HasPrefix(path, "release.") || !strings.HasSuffix(path, ".fields") {
		return
	}
	all := n.Content
	for _, name := range []string{"patient_name", "zip", "name", "telecom", "address.postalCode"} {
		for _, do := range []string{"keep", "zip3"} {
			var field yaml.Node
			if err := yaml.Unmarshal([]byte("{"+name+": {do: "+do+", because: asked for}}"), &field); err != nil {
				b.t.Fatal(err)
			}
			n.Content = slices.Concat(all, field.Content[0].Content)
			if page := b.explain(); page != nil {
				b.changed[path] = append(b.changed[path], page)
			}
		}
	}
	n.Content = all
}

// sentence holds one sentence against the clauses it names: each is in the
// file, and there is a change of it, or of what lies in it, with which the
// sentence is gone.
func (b *clauseBench) sentence(s Sentence) {
	gone := func(pages []*Page) bool {
		return slices.ContainsFunc(pages, func(x *Page) bool {
			return !slices.ContainsFunc(sentencesOf(x), func(o Sentence) bool { return o.Text == s.Text })
		})
	}
	for _, c := range s.Clauses {
		tried, forced := false, false
		for _, pages := range []map[string][]*Page{b.changed, b.without} {
			for path, list := range pages {
				if path == c || strings.HasPrefix(path, c+"[") {
					tried, forced = tried || len(list) > 0, forced || gone(list)
				}
			}
		}
		if tried && !forced {
			b.t.Errorf("%s does not force: %s", c, s.Text)
		}
	}
}

func sentencesOf(x *Page) (all []Sentence) {
	all = append(all, Sentence{Text: x.Title, Clauses: []string{"policy", "version"}})
	for _, s := range x.Sections {
		all = append(all, s.Sentences...)
	}
	return all
}

// said is all that the page says, without the digest of the file, which every
// change changes.
func (x *Page) said() string {
	var b strings.Builder
	for _, s := range sentencesOf(x) {
		b.WriteString(s.Text + "\n")
	}
	return b.String()
}

// words of the language that one may write for another.
var vocabulary = [][]string{
	{"identified", "limited-data-set", "safe-harbor", "expert-determination", "aggregate"},
	{"acme-health-plan", "national-outcomes-registry", "valley-care-group"},
	{"acme-roster", "consents", "restrictions"},
	{"TREAT", "HPAYMT", "HOPERAT", "HRESCH", "PUBHLTH", "HQUALIMP", "ETREAT", "DSRCH"},
	{"45 CFR 164.506(c)(1)", "45 CFR 164.506(c)(2)", "45 CFR 164.506(c)(3)", "45 CFR 164.506(c)(4)", "45 CFR 164.508", "45 CFR 164.512(a)", "45 CFR 164.502(d)", "45 CFR 164.514(e)"},
	{"provider-contract", "participation", "baa", "dua", "authorization", "law"},
	{"permit", "deny"},
	{"at-service", "any-day-of-period"},
	{"withhold", "leave-out"},
	{"own-file", "same-file", "leave-out"},
	{"csv", "ndjson", "strata-csv", "acme-supplemental-2026"},
	{"full", "delta"},
	{"days", "weeks"},
	{"keep", "code", "year", "age-band", "zip3", "relative-time", "token", "ordinal", "shift-date", "age"},
	{"measure-year", "last-closed-year", "last-closed-month"},
	{"last-closed", "2023"},
	{"people", "rows"},
	{"service_date", "race", "state", "total_score", "acme-roster.member_id", "acme-roster.from", "birth_date"},
	{"texts/part2-notice.txt", "texts/other.txt"},
	{"90+", "80+", "60+"},
	{"yes", "no"}, {"true", "false"},
}

// otherValues proposes what could stand in the place of a value.
func otherValues(value string) []string {
	var list []string
	for _, words := range vocabulary {
		if slices.Contains(words, value) {
			list = append(list, words...)
		}
	}
	if n, unit, _ := strings.Cut(value, " "); unit != "" {
		if number, err := strconv.Atoi(n); err == nil {
			list = append(list, fmt.Sprint(number+1, " ", unit), fmt.Sprint(number*2, " ", unit))
		}
	}
	if number, err := strconv.Atoi(value); err == nil {
		list = append(list, fmt.Sprint(number+1), fmt.Sprint(number*2))
	}
	if number, err := strconv.Atoi(strings.TrimSuffix(value, "%")); err == nil {
		list = append(list, fmt.Sprint(number+1, "%"))
	}
	for _, year := range []string{"2024", "2025", "2027", "2028", "2029"} {
		if strings.HasPrefix(value, "20") && len(value) >= 10 {
			list = append(list, year+value[4:])
			if first, last, ok := strings.Cut(value, ".."); ok {
				list = append(list, first+".."+year+last[4:])
			}
		}
	}
	return append(list, value+"x", value+" and more")
}
