package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf16"
)

// inputs is a clinic whose protective inputs are broken one after the other.
type inputs struct {
	t      *testing.T
	dir    string
	config string
	drops  int // that have left so far
}

// layInputs makes a clinic with an input of every kind. Three kinds can stand
// where the roster stands; roster says which.
func layInputs(t *testing.T, roster string) *inputs {
	dir := t.TempDir()
	if err := newTemplate(dir); err != nil {
		t.Fatal(err)
	}
	in := &inputs{t: t, dir: filepath.Join(dir, "world"), config: filepath.Join(dir, "world", "clinic", "postern.yaml")}
	in.write("merges.csv", "from,into,status\nnobody-1,nobody-2,\nnobody-3,nobody-4,unresolved\n")
	in.write("patients.ndjson", `{"resourceType":"Patient","id":"nobody-5","link":[{"type":"replaced-by","other":{"reference":"Patient/nobody-6"}}]}`+"\n"+
		`{"resourceType":"Patient","id":"nobody-6","name":[{"family":"Nobody"}]}`+"\n")
	text := in.read("../postern.yaml")
	more := "inputs:\n  merges:      {kind: merges, file: inputs/merges.csv, max_age: 1 day, shrink_limit: 0%}\n" +
		"  merges-fhir: {kind: fhir-merges, file: inputs/patients.ndjson, max_age: 1 day, shrink_limit: 0%}\n"
	text = strings.Replace(text, "inputs:\n", more, 1)
	rows, err := csv.NewReader(strings.NewReader(in.read("acme-roster.csv"))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	switch roster {
	case "attribution":
		in.write("attribution.csv", strings.Replace(in.read("acme-roster.csv"), "subject,", "patient,", 1))
		text = strings.Replace(text, "{kind: roster, file: inputs/acme-roster.csv", "{kind: attribution, file: inputs/attribution.csv", 1)
	case "fhir-coverage":
		var lines strings.Builder
		for _, row := range rows[1:] { // subject, member_id, from, to
			period := map[string]string{"start": row[2]}
			if row[3] != "" {
				period["end"] = row[3]
			}
			line, err := json.Marshal(map[string]any{"resourceType": "Coverage", "status": "active", "beneficiary": map[string]string{"reference": "Patient/" + row[0]},
				"payor": []any{map[string]string{"reference": "Organization/acme-health-plan"}}, "subscriberId": row[1], "period": period})
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(line, '\n'))
		}
		in.write("coverage.ndjson", lines.String())
		text = strings.Replace(text, "{kind: roster, file: inputs/acme-roster.csv", "{kind: fhir-coverage, file: inputs/coverage.ndjson", 1)
	}
	in.write("../postern.yaml", text)
	if err := approveAll(in.config); err != nil {
		t.Fatal(err)
	}
	return in
}

func (in *inputs) path(name string) string { return filepath.Join(in.dir, "clinic", "inputs", name) }

func (in *inputs) read(name string) string {
	in.t.Helper()
	text, err := os.ReadFile(in.path(name))
	if err != nil {
		in.t.Fatal(err)
	}
	return string(text)
}

func (in *inputs) write(name, text string) {
	in.t.Helper()
	if err := os.WriteFile(in.path(name), []byte(text), 0o600); err != nil {
		in.t.Fatal(err)
	}
}

// postern runs the real command line.
func (in *inputs) postern(stdin string, args ...string) (code int, out, said string) {
	var stdout, stderr bytes.Buffer
	code = postern(context.Background(), append(args, "--config", in.config), strings.NewReader(stdin), &stdout, &stderr)
	return code, stdout.String(), stderr.String()
}

// sent counts the drops that lie at the recipient.
func (in *inputs) sent() int {
	found, err := filepath.Glob(filepath.Join(in.dir, "recipients", "acme-health-plan", "inbox", "*.done"))
	if err != nil {
		in.t.Fatal(err)
	}
	return len(found)
}

func (in *inputs) leaves(t *testing.T) {
	t.Helper()
	in.drops++
	if code, _, said := in.postern("", "run", "acme-scores", "--as-of", "2026-06-30"); code != 0 || in.sent() != in.drops {
		t.Fatalf("code %d, %d drops, want %d: %s", code, in.sent(), in.drops, said)
	}
}

// defects are what can befall a file. Each gives the line that the message must
// name, 0 for none.
func defects(text string) map[string]func(in *inputs, name string) (line int) {
	lines := strings.SplitAfter(strings.TrimSuffix(text, "\n"), "\n")
	isTable := !strings.HasPrefix(text, "{")
	header := 0
	if isTable {
		header = 1
	}
	written := func(text string, line int) func(*inputs, string) int {
		return func(in *inputs, name string) int {
			in.write(name, text)
			return line
		}
	}
	half := len(lines[len(lines)-1]) / 2
	list := map[string]func(in *inputs, name string) int{
		"cut within the last row": written(text[:len(text)-1-half], len(lines)),
		"empty":                   written("", 0),
		"shrunken":                written(strings.Join(lines[:header+1], ""), 0),
		"invalid UTF-8":           written(strings.Join(lines[:header], "")+lines[header][:5]+"\xff"+lines[header][5:]+strings.Join(lines[header+1:], "")+"\n", header+1),
		"UTF-16": func(in *inputs, name string) int {
			wide, _ := binary.Append([]byte("\xff\xfe"), binary.LittleEndian, utf16.Encode([]rune(text)))
			in.write(name, string(wide))
			return 1
		},
		"stale": func(in *inputs, name string) int {
			old := time.Now().AddDate(-2, 0, 0)
			if err := os.Chtimes(in.path(name), old, old); err != nil {
				in.t.Fatal(err)
			}
			return 0
		},
		"missing": func(in *inputs, name string) int {
			if err := os.Remove(in.path(name)); err != nil {
				in.t.Fatal(err)
			}
			return 0
		},
		"unreadable": func(in *inputs, name string) int { // permissions do not stop root; nobody can read a folder
			if err := os.Remove(in.path(name)); err != nil {
				in.t.Fatal(err)
			}
			if err := os.Mkdir(in.path(name), 0o700); err != nil {
				in.t.Fatal(err)
			}
			return 0
		},
	}
	if isTable {
		list["cut before the last line end"] = written(text[:len(text)-1], len(lines))
		list["whose patient cannot be told"] = written(text+";"+strings.Repeat(",", strings.Count(lines[0], ","))+"\n", len(lines)+1)
	} else {
		list["whose patient cannot be told"] = written(text+strings.NewReplacer(`"reference":"Patient/`, `"display":"Patient/`).Replace(lines[0]), len(lines)+1)
	}
	return list
}

// Issue 4, Show 5: whatever befalls a protective input stops the exchange with
// 17 and names the file, and the line where there is one; nothing is sent.
func TestProtectiveInputsFailClosed(t *testing.T) {
	for roster, files := range map[string][]string{
		"roster":        {"consents.csv", "consents.ndjson", "restrictions.csv", "programs.csv", "merges.csv", "patients.ndjson", "acme-roster.csv"},
		"attribution":   {"attribution.csv"},
		"fhir-coverage": {"coverage.ndjson"},
	} {
		in := layInputs(t, roster)
		in.leaves(t)
		for _, name := range files {
			whole := in.read(name)
			for defect, breakIt := range defects(whole) {
				t.Run(name+" "+defect, func(t *testing.T) {
					line := breakIt(in, name)
					want := "clinic/inputs/" + name
					if line > 0 {
						want += fmt.Sprintf(":%d:", line)
					}
					if defect == "shrunken" { // the input is named as the configuration names it
						want = "a loss of more than"
					}
					for _, command := range []string{"run", "plan"} {
						if code, _, said := in.postern("", command, "acme-scores", "--as-of", "2026-06-30"); code != 17 || !strings.Contains(said, want) {
							t.Errorf("%s: code %d, want 17; %q is not in: %s", command, code, want, said)
						}
					}
					if in.sent() != in.drops {
						t.Error("something was sent")
					}
					if err := os.RemoveAll(in.path(name)); err != nil {
						t.Fatal(err)
					}
					in.write(name, whole)
				})
			}
		}
		in.leaves(t)
	}
}

// A directive that cannot be understood, of a patient who can be told, leaves
// that patient in doubt in every exchange and stops none; restrictions likewise.
// It is listed with its place, and goes on closing when its row vanishes.
func TestRowsInDoubtThroughTheCommand(t *testing.T) {
	in := layInputs(t, "roster")
	in.leaves(t)
	record := func(patient string) string {
		return `{"dataset":"scores","id":"r","subject":"` + patient + `","date":"2026-03-02","codes":["44261-6"]}` + "\n"
	}
	released := func(exchange string) (patient string) { // somebody whose records leave
		rows, err := csv.NewReader(strings.NewReader(in.read("acme-roster.csv"))).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows[1:] {
			if _, out, _ := in.postern(record(row[0]), "consent", "decide", exchange, "--as-of", "2026-06-30"); strings.Contains(out, `"effect":"permit"`) || strings.Contains(out, `"effect":"not-applicable"`) {
				return row[0]
			}
		}
		t.Fatal("nobody's records leave")
		return ""
	}
	for name, c := range map[string]struct{ file, row, reason string }{
		"registry":      {"consents.csv", "%s,general,dney,active,,,,,,,,,,\n", "consent-indeterminate"},
		"FHIR":          {"consents.ndjson", `{"resourceType":"Consent","id":"odd","status":"on","scope":{"coding":[{"code":"patient-privacy"}]},"patient":{"reference":"Patient/%s"}}` + "\n", "consent-indeterminate"},
		"a restriction": {"restrictions.csv", "", "restriction-indeterminate"},
	} {
		t.Run(name, func(t *testing.T) {
			whole := in.read(c.file)
			for _, exchange := range []string{"acme-scores", "hie-treatment"} {
				patient := released(exchange)
				row := c.row
				if row == "" {
					row = "%s,cash" + strings.Repeat(",", strings.Count(strings.SplitN(whole, "\n", 2)[0], ",")-1) + "\n"
				}
				in.write(c.file, whole+fmt.Sprintf(row, patient))
				code, out, said := in.postern(record(patient), "consent", "decide", exchange, "--as-of", "2026-06-30")
				if code != 0 || !strings.Contains(out, `"effect":"indeterminate"`) || !strings.Contains(out, c.reason) {
					t.Errorf("%s: code %d: %s%s", exchange, code, out, said)
				}
				place := fmt.Sprintf("clinic/inputs/%s:%d", c.file, strings.Count(whole, "\n")+1)
				if code, out, said := in.postern("", "consent", "mend", exchange); code != 0 || !strings.Contains(out, place+": ") || strings.Contains(out, patient) {
					t.Errorf("%s: code %d: %s%s", exchange, code, out, said)
				}
				in.write(c.file, whole)
			}
		})
	}
	whole, patient := in.read("consents.csv"), released("acme-scores")
	in.write("consents.csv", whole+fmt.Sprintf("%s,general,dney,active,,,,,,,,,,\n", patient))
	in.leaves(t)                                        // it stops nobody else, and is kept
	whole += "nobody,general,permit,active,,,,,,,,,,\n" // as many rows as before
	in.write("consents.csv", whole)
	if code, out, said := in.postern(record(patient), "consent", "decide", "acme-scores"); code != 0 || !strings.Contains(out, "consent-indeterminate") {
		t.Errorf("it has vanished: code %d: %s%s", code, out, said)
	}
	if _, out, _ := in.postern("", "plan", "acme-scores", "--as-of", "2026-06-30"); !strings.Contains(out, "`postern consent mend acme-scores` lists them") {
		t.Errorf("the plan does not say so: %s", out)
	}
	if _, out, _ := in.postern("", "consent", "mend", "acme-scores", "--json"); !strings.Contains(out, `"earlier": true`) {
		t.Errorf("it is not listed any more: %s", out)
	}
	in.write("consents.csv", whole+fmt.Sprintf("%s,general,deny,active,,,,,,,,,,\n", patient))
	if code, out, said := in.postern(record(patient), "consent", "decide", "acme-scores"); code != 0 || !strings.Contains(out, `["consent-denied"]`) {
		t.Errorf("it was mended: code %d: %s%s", code, out, said)
	}
}

// Coverage that goes afterwards, and comes back, changes what is decided from
// then on and nothing that was sent.
func TestCoverageChangesAfterwards(t *testing.T) {
	in := layInputs(t, "fhir-coverage")
	in.leaves(t)
	first, err := filepath.Glob(filepath.Join(in.dir, "recipients", "acme-health-plan", "inbox", "cv.x7.000001.*"))
	if err != nil || len(first) == 0 {
		t.Fatal(first, err)
	}
	sent := func() (all string) {
		for _, file := range first {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all += string(text)
		}
		return all
	}
	released := func() int {
		var plan struct{ Released int }
		_, out, said := in.postern("", "plan", "acme-scores", "--as-of", "2026-06-30", "--json")
		if err := json.Unmarshal([]byte(out), &plan); err != nil {
			t.Fatal(err, said)
		}
		return plan.Released
	}
	whole, before, all := in.read("coverage.ndjson"), sent(), released()
	lines := strings.SplitAfter(whole, "\n")
	half := strings.Join(lines[:len(lines)/2], "")
	in.write("coverage.ndjson", strings.ReplaceAll(half, `"active"`, `"cancelled"`)+strings.TrimPrefix(whole, half))
	if n := released(); n == 0 || n >= all {
		t.Errorf("%d of %d records are released when half of the coverage is cancelled", n, all)
	}
	in.leaves(t)
	in.write("coverage.ndjson", whole)
	if n := released(); n != all || sent() != before {
		t.Errorf("%d of %d records are released when the coverage is back, or what was sent has changed", n, all)
	}
}
