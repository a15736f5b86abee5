package agent_test

import (
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// destined writes a line into the destination of an exchange's recipient.
func (h *house) destined(exchange, line string) {
	h.t.Helper()
	config, err := h.agent.Config.Exchange(exchange)
	h.must(err)
	text, mark := h.read("postern.yaml"), "    destination:\n"
	at := strings.Index(text, "\n  "+config.Recipient+":\n")
	at += strings.Index(text[at:], mark) + len(mark)
	h.write("postern.yaml", text[:at]+"      "+line+"\n"+text[at:])
	h.open(hclog.NewNullLogger())
	h.approve(exchange)
}

// listedPart is a part as the recipient's book has it, with what it holds.
type listedPart struct {
	name, dataset, action string
	part2                 bool
	rows, people          int
	header                string
	lines                 []string
}

// listed are the parts of a drop.
func (h *house) listed(exchange string, number int64) (parts []listedPart) {
	h.t.Helper()
	archived, list := h.archived(exchange, number), h.drop(exchange, number).book["parts"].([]any)
	archived = archived[len(archived)-len(list):] // of the last drop
	for i, p := range list {
		of := p.(map[string]any)
		p := listedPart{name: of["name"].(string), dataset: of["dataset"].(string), action: of["action"].(string), part2: of["part2"].(bool), rows: int(of["rows"].(float64)), people: int(of["people"].(float64))}
		p.lines = strings.Split(strings.TrimSuffix(string(archived[i]), "\n"), "\n")
		if of["format"] != "ndjson" {
			p.header, p.lines = p.lines[0], p.lines[1:]
		} else if p.lines[0] == "" {
			p.lines = nil
		}
		parts = append(parts, p)
	}
	return parts
}

// kind is what parts have in common that hold one and the same.
func (p *listedPart) kind() string { return fmt.Sprint(p.dataset, p.action, p.part2, p.header) }

// Where a recipient takes files of so many rows, the rows are those of a drop whose
// parts have any number, in their order, each part with its header and its own
// counts; each row leads to its line, and the recipient takes all.
func TestPartsOfSoManyRows(t *testing.T) {
	t.Parallel()
	const most = 7
	for _, exchange := range []string{scores, treatment} {
		whole := build(t, synthetic.Options{Patients: 40, Mess: true})
		whole.run(exchange, agent.RunOptions{}) // so that both have one epoch
		h := whole.copied()
		h.destined(exchange, fmt.Sprintf("max_rows: %d", most))
		outcome, other := h.run(exchange, agent.RunOptions{Workers: 2}), whole.run(exchange, agent.RunOptions{})
		if outcome.Released != other.Released {
			t.Fatalf("%d rows of %d", outcome.Released, other.Released)
		}
		want, got := map[string][]string{}, map[string][]string{}
		for _, p := range whole.listed(exchange, 2) {
			if p.dataset != transfer.ScopeOfConsent { // its lines name parts
				want[p.kind()] = p.lines
			}
		}
		parts, several, scopes := h.listed(exchange, 2), 0, []string{}
		for i, p := range parts {
			if p.rows != len(p.lines) || p.rows > most {
				t.Errorf("part %d is said to have %d rows, and has %d", i+1, p.rows, len(p.lines))
			}
			if i+1 < len(parts) && parts[i+1].kind() == p.kind() {
				if several++; p.rows != most {
					t.Errorf("part %d has %d rows, and the next %d more", i+1, p.rows, parts[i+1].rows)
				}
			}
			if exchange == scores && p.dataset == "scores" {
				members := map[string]bool{}
				for _, line := range p.lines {
					members[line[:strings.Index(line, ",")]] = true
				}
				if p.people != len(members) {
					t.Errorf("part %d is said to be about %d people, and is about %d", i+1, p.people, len(members))
				}
			}
			if p.dataset == transfer.ScopeOfConsent {
				scopes = append(scopes, p.lines...)
			} else {
				got[p.kind()] = append(got[p.kind()], p.lines...)
			}
		}
		if several < 3 || len(got) != len(want) {
			t.Errorf("%d parts go on in another, %d kinds of %d", several, len(got), len(want))
		}
		for kind, lines := range want {
			if !slices.Equal(got[kind], lines) {
				t.Errorf("the rows of %s are not those of a whole part", kind)
			}
		}
		h.scopesFollow(exchange, parts, scopes)
		h.deliver(exchange)
		if r := h.receive(exchange); len(r) != 2 || r[1].Status != transfer.Accepted {
			t.Errorf("the recipient: %+v", r)
		}
	}
}

// scopesFollow holds the scope of consent against the rows that it tells of, one after
// the other, and traces some of them, the last rows of parts among them.
func (h *house) scopesFollow(exchange string, parts []listedPart, scopes []string) {
	h.t.Helper()
	n := 0
	for i, p := range parts {
		for row := 1; row <= len(p.lines) && p.dataset != transfer.ScopeOfConsent; row++ {
			if p.part2 {
				if n == len(scopes) || !strings.HasPrefix(scopes[n], fmt.Sprintf("%d,%d,", i+1, row)) {
					h.t.Fatalf("row %d of part %d has no scope of consent in its place", row, i+1)
				}
				if key := scopes[n][strings.LastIndex(scopes[n], ",")+1:]; exchange == scores && !strings.HasSuffix(p.lines[row-1], ","+key) {
					h.t.Errorf("row %d of part %d has the scope of another", row, i+1)
				}
				n++
			}
			if row != len(p.lines) || i%3 > 0 && !p.part2 { // each is a look at all books
				continue
			}
			trace := func(row string) *agent.Trace {
				tr, err := h.agent.TraceRow(h.t.Context(), exchange, 2, row, h.archiveKey())
				h.must(err)
				return tr
			}
			tr := trace(fmt.Sprintf("%d:%d", i+1, row))
			source := h.lines(filepath.Join("extract", tr.Source.File))[tr.Source.Line]
			if tr.File != p.name || tr.Part2 != p.part2 || p.part2 && tr.RestsOn == "" || exchange == scores && !strings.Contains(source, strings.Split(p.lines[row-1], ",")[2]) {
				h.t.Errorf("row %d of part %d: %+v", row, i+1, tr)
			}
			if exchange == scores && trace(tr.RowKey).SentRow != tr.SentRow {
				h.t.Errorf("row %d of part %d is another by its key", row, i+1)
			}
		}
	}
	if n != len(scopes) || n == 0 && exchange == treatment {
		h.t.Errorf("%d rows under Part 2, %d scopes of consent", n, len(scopes))
	}
}

// Voids and the lists that go with a drop are split like rows, and a control file
// names each file with its own counts.
func TestPartsOfChangesAndControl(t *testing.T) {
	t.Parallel()
	h := layoutHouse(t)
	h.destined("fhir-scores", "max_rows: 1")
	h.run("fhir-scores", agent.RunOptions{})
	listed := map[string]bool{}
	for _, p := range h.listed("fhir-scores", 1) {
		if p.dataset == transfer.ControlFile {
			for _, line := range p.lines {
				cells := strings.Split(line, ",")
				listed[strings.Join(cells[1:3], " ")] = true
			}
			continue
		}
		name := regexp.MustCompile(`\.zst\.age$`).ReplaceAllString(p.name, map[bool]string{true: ".csv", false: ".txt"}[p.dataset == transfer.ScopeOfConsent])
		if p.rows > 1 {
			t.Errorf("%s has %d rows", p.name, p.rows)
		}
		listed[fmt.Sprint("want ", name, " ", p.rows)] = true
	}
	n := 0
	for line := range listed {
		if rest, wanted := strings.CutPrefix(line, "want "); wanted {
			if n++; !listed[rest] {
				t.Errorf("no control file has a line of %s", rest)
			}
		}
	}
	if n < 8 || len(listed) != 2*n {
		t.Errorf("%d files, %d lines of control files", n, len(listed)-n)
	}

	many := build(t, synthetic.Options{Patients: 1200})
	many.destined(scores, "max_rows: 1")
	if _, err := many.agent.Run(t.Context(), scores, agent.RunOptions{AsOf: day(wholeYear)}); classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "a drop has 999 parts at most; raise destination.max_rows") {
		t.Errorf("too many parts: %v", err)
	}

	h, c := startYear(t)
	h.destined(scores, "max_rows: 2")
	var others []*yearRecord // of another person each
	for n := range 12 {
		r := c.plainRecord(others...)
		if others = append(others, r); n < 6 {
			r.status = "entered-in-error"
		} else {
			r.total = (r.total + 1) % 20
		}
	}
	c.lay(h, "2026-02-28")
	o := h.run(scores, agent.RunOptions{AsOf: day("2026-02-28")})
	h.deliver(scores)
	actions := map[string]int{}
	d := h.drop(scores, o.Number)
	for _, p := range d.book["parts"].([]any) {
		if of := p.(map[string]any); of["rows"].(float64) == 2 {
			actions[of["action"].(string)]++
		} else if of["rows"].(float64) > 2 {
			t.Errorf("part %v has %v rows", of["name"], of["rows"])
		}
	}
	if actions["change"] < 2 || actions["void"] < 2 {
		t.Errorf("full parts by action: %v", actions)
	}
	if r := h.receive(scores); len(r) != 2 {
		t.Errorf("the recipient takes %d drops", len(r))
	}
}

// A bare file is one of several where its name can say so; otherwise the
// configuration, or the run, says what is missing.
func TestBarePartsHaveNames(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: never")
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "    destination:\n", "    destination:\n      max_rows: 10\n", -1))
	if _, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml")); err == nil || !strings.Contains(err.Error(), "acme-health-plan.bare.name: destination.max_rows would make several files") {
		t.Errorf("without {part}: %v", err)
	}
	h.write("postern.yaml", strings.Replace(h.read("postern.yaml"), "scores_{sequence}", "scores_{month}_{part:2}of", 1))
	h.open(hclog.NewNullLogger())
	o := h.run(scores, agent.RunOptions{})
	h.deliver(scores)
	var want []string
	for n := int64(1); n <= (o.Released+9)/10; n++ {
		want = append(want, fmt.Sprintf("scores_07_%02dof.age", n))
	}
	if got := h.mailbox(); len(want) < 3 || !slices.Equal(got, want) {
		t.Errorf("the mailbox has %v, of %v", got, want)
	}
	if names := h.query(`SELECT group_concat(name, ' ') FROM (SELECT name FROM file_name ORDER BY name)`); names != strings.Join(want, " ") {
		t.Errorf("names taken are %s", names)
	}
	if _, err := h.agent.Run(t.Context(), scores, agent.RunOptions{}); classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "a file called scores_07_01of.age was sent") {
		t.Errorf("again: %v", err)
	}
}
