package policytest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// Draft is what a case is drafted from: an extract, what a run made of it, and
// the protective inputs.
type Draft struct {
	Policy                    *policies.Policy // checked
	Recipient, Clinic, Others []string         // names and numbers; the first of Recipient is its kind
	Schemas                   map[string]*extract.Schema
	Files                     []extract.File
	Reasons                   []extract.Reason // the counted one of each record, in the order of the source
	Inputs                    []DraftInput
	AsOf                      extract.Day
	DecidedAt                 time.Time
}

// DraftInput is a protective input; its rows are in a table or are FHIR Consents.
type DraftInput struct {
	Name, Kind, File string
	FHIR             bool
}

// Records of a draft are few: those that a run treated differently, and at most
// so many, with the patients and encounters that they name.
const mostDrafted = 40

// drafting is one draft on its way.
type drafting struct {
	*Draft
	v        *inventor
	plans    map[string][]*deid.Plan // of each condition alone
	picked   map[int64]bool
	people   map[string]bool
	visits   map[string]bool
	datasets map[string][]string // as they will be written
	inputs   map[string][]string
}

// Write drafts a case into a file, with every value replaced, and expects of
// its records what a run makes of them now: an officer is to read it.
func (d *Draft) Write(ctx context.Context, file string) error {
	w := &drafting{Draft: d, v: newInventor(slices.Concat([]string{d.Policy.Recipient}, d.Recipient[1:], d.Clinic, d.Others)), plans: map[string][]*deid.Plan{}, picked: map[int64]bool{}, people: map[string]bool{},
		visits: map[string]bool{}, datasets: map[string][]string{}, inputs: map[string][]string{}}
	for _, step := range []func() error{w.conditions, w.pick, w.identifiers, w.replace, w.replaceInputs} {
		if err := errors.Join(step(), ctx.Err()); err != nil {
			return err
		}
	}
	text := w.text(file)
	if err := w.clean(text); err != nil {
		return err
	}
	if err := os.WriteFile(file, append([]byte(text), "refused: nothing\n"...), 0o600); err != nil {
		return err
	}
	expected, err := expectNow(ctx, file)
	if err != nil {
		return errors.Join(err, os.Remove(file))
	}
	return os.WriteFile(file, []byte(text+expected), 0o600)
}

func (w *drafting) conditions() error {
	for _, release := range w.Policy.Release {
		for _, only := range release.Only {
			plan, err := conditionAlone(w.Policy, &release, only, w.AsOf, w.Schemas[release.Dataset])
			if err != nil {
				return err
			}
			w.plans[release.Dataset] = append(w.plans[release.Dataset], plan)
		}
	}
	return nil
}

// pick takes the first record of each kind: of a dataset that the policy
// names, with its reason, and the conditions that it meets.
func (w *drafting) pick() error {
	met := map[string]bool{}
	return eachRecord(w.Files, func(n int64, rec *extract.Record) {
		if n >= int64(len(w.Reasons)) || rec.Reject != extract.NoReason || len(w.picked) >= mostDrafted || w.Policy.ReleaseOf(rec.Dataset) == nil {
			return
		}
		kind := fmt.Sprint(rec.Dataset, " ", w.Reasons[n])
		for _, plan := range w.plans[rec.Dataset] {
			kind += " " + plan.InScope(rec).String()
		}
		if met[kind] {
			return
		}
		met[kind], w.picked[n] = true, true
		for _, s := range rec.Facts.Subjects {
			w.people[string(s)] = true
		}
		w.visits[string(rec.Facts.Encounter)] = len(rec.Facts.Encounter) > 0
	})
}

// taken tells whether a record goes into the draft.
func (w *drafting) taken(n int64, rec *extract.Record) bool {
	switch {
	case w.picked[n]:
		return true
	case rec.Reject != extract.NoReason:
		return false
	case rec.Dataset == "Patient":
		return w.people[string(rec.Facts.ID)]
	}
	return rec.Dataset == "Encounter" && w.visits[string(rec.Facts.ID)]
}

// identifiers invents ids before anything else, so that no code or number is
// kept that is somebody's id.
func (w *drafting) identifiers() error {
	return eachRecord(w.Files, func(n int64, rec *extract.Record) {
		if w.taken(n, rec) {
			for _, s := range rec.Facts.Subjects {
				w.v.invented(string(s), shape)
			}
			for _, id := range []string{string(rec.Facts.ID), string(rec.Facts.Encounter)} {
				if id != "" {
					w.v.invented(id, shape)
				}
			}
		}
	})
}

func (w *drafting) replace() (err error) {
	return errors.Join(eachRecord(w.Files, func(n int64, rec *extract.Record) {
		if !w.taken(n, rec) {
			return
		}
		var line []byte
		if schema := w.Schemas[rec.Dataset]; schema != nil {
			line = w.v.row(rec, schema)
		} else {
			var e error
			line, e = w.v.resource(rec)
			err = errors.Join(err, e)
		}
		w.datasets[rec.Dataset] = append(w.datasets[rec.Dataset], string(line))
	}), err)
}

// inputClasses are what the columns of protective inputs hold; what stands in
// no line is replaced.
var inputClasses = map[string]extract.Class{
	"from": extract.Date, "to": extract.Date, "signed_on": extract.Date, "ended_on": extract.Date,
	"kind": extract.Code, "scope": extract.Code, "decision": extract.Code, "status": extract.Code, "purpose": extract.Code,
	"categories": extract.Code, "form": extract.Code, "recipient": extract.Code, "service": extract.Code, "plan": extract.Code,
}

func (w *drafting) replaceInputs() error {
	for _, in := range w.Inputs {
		var err error
		if in.FHIR {
			err = w.consents(in)
		} else {
			err = w.table(in)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// table takes the rows of those in the draft, and the programs that a record
// in it may name.
func (w *drafting) table(in DraftInput) error {
	t, err := extract.OpenTable(in.File, nil, []string{"*"})
	if err != nil {
		return err
	}
	defer t.Close()
	for t.Next() {
		subject := strings.TrimPrefix(string(t.Get("subject"))+string(t.Get("patient")), "Patient/")
		if in.Kind != "programs" && !w.people[subject] || len(w.inputs[in.Name]) >= 4*mostDrafted {
			continue
		}
		row := []byte{'{'}
		for _, column := range t.Columns() {
			value := string(t.Get(column))
			class := inputClasses[column]
			switch {
			case column == "source_document" || value == "" && !slices.Contains([]string{"from", "to"}, column):
				continue
			case column == "id" && len(value) == 10:
				class = extract.ProviderKey
			}
			row = appendPair(row, column, w.v.value(class, value))
		}
		w.inputs[in.Name] = append(w.inputs[in.Name], string(append(row, '}')))
	}
	return t.Err()
}

func (w *drafting) consents(in DraftInput) error {
	file, err := extract.FileAt(in.File, &extract.FileRule{Format: extract.FHIRNDJSON})
	if err != nil {
		return err
	}
	var failed error
	return errors.Join(eachRecord([]extract.File{file}, func(_ int64, rec *extract.Record) {
		if len(rec.Facts.Subjects) != 1 || !w.people[string(rec.Facts.Subjects[0])] {
			return
		}
		resource, err := w.v.resource(rec)
		failed = errors.Join(failed, err)
		w.inputs[in.Name] = append(w.inputs[in.Name], string(resource))
	}), failed)
}

// text is the case without what it expects.
func (w *drafting) text(file string) string {
	var b strings.Builder
	beside := func(path string) string {
		from, _ := filepath.Abs(filepath.Dir(file))
		to, _ := filepath.Abs(path)
		if short, err := filepath.Rel(from, to); err == nil {
			return filepath.ToSlash(short)
		}
		return to
	}
	fmt.Fprintf(&b, "# Drafted from an extract: every value is invented, or a code or number. Read what is expected.\npostern: %s\ncase: drafted for %s\npolicy: %q\nas_of: %s\ndecided_at: %s\nrecipient: {kind: %s, identifiers: %s}\nclinic: %s\nother_organizations: %s\n",
		Format, w.Policy.Name, beside(w.Policy.File), w.AsOf+extract.Day(w.v.days), w.DecidedAt.Format(time.RFC3339), w.Recipient[0], list(w.Recipient[1:]), list(w.Clinic), list(w.Others))
	lines := func(key string, of map[string][]string) {
		if len(of) > 0 {
			fmt.Fprintf(&b, "%s:\n", key)
		}
		for _, name := range slices.Sorted(maps.Keys(of)) {
			fmt.Fprintf(&b, "  %s:\n", name)
			for _, line := range of[name] {
				fmt.Fprintf(&b, "    - %s\n", line)
			}
		}
	}
	schemas := []string{}
	for _, name := range slices.Sorted(maps.Keys(w.datasets)) {
		if s := w.Schemas[name]; s != nil {
			schemas = append(schemas, fmt.Sprintf("%s: %q", name, beside(s.File)))
		}
	}
	if len(schemas) > 0 {
		fmt.Fprintf(&b, "schemas: {%s}\n", strings.Join(schemas, ", "))
	}
	kinds := []string{}
	for _, in := range w.Inputs {
		kinds = append(kinds, in.Name+": "+in.Kind)
	}
	if len(kinds) > 0 {
		fmt.Fprintf(&b, "kinds: {%s}\n", strings.Join(kinds, ", "))
	}
	lines("records", w.datasets)
	lines("inputs", w.inputs)
	return b.String()
}

// list is a list of YAML.
func list(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = strconv.Quote(name)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// clean refuses a draft in which a value is left that was to be replaced.
func (w *drafting) clean(text string) error {
	for value := range w.v.known {
		if len(value) >= 6 && !w.v.prose[value] && strings.Contains(text, value) {
			return errors.New("a value of the extract is left in the draft, so it was not written; please report this")
		}
	}
	return nil
}

// expectNow runs the draft and writes down what became of its records.
func expectNow(ctx context.Context, file string) (string, error) {
	c, err := Load(file)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	err = scratch(func(dir string) error {
		w, o, err := c.run(ctx, dir)
		if err != nil {
			return err
		}
		b.WriteString("expect:\n")
		names := map[string]string{}
		for _, s := range w.records {
			got := o.endings[s.at]
			end := fmt.Sprintf("%s: [%s]", got.disposition, strings.Join(got.reasons, ", "))
			if len(got.reasons) == 0 {
				end = "released: " + w.drafted(s.dataset, o.rows[s.at], names)
			}
			fmt.Fprintf(&b, "  - {record: %q, %s}\n", s.names[0], end)
		}
		return nil
	})
	return b.String(), err
}

// drafted is a released row as a case would say it, with names for codes.
func (w *world) drafted(dataset string, r row, names map[string]string) string {
	if r.columns == nil {
		if bytes.Contains(r.text, []byte("Patient/")) && w.policy.Standard != policies.Identified {
			return "yes" // references to codes have no names
		}
		return string(bytes.TrimSpace(r.text))
	}
	cells, err := readRow(r.text)
	if err != nil {
		return "yes"
	}
	b := []byte{'{'}
	for i, column := range r.columns {
		value := cells[i]
		switch f := w.policy.ReleaseOf(dataset).Field(column); {
		case f == nil:
			value = "any" // the row key
		case f.Do == policies.CodePerson:
			if names[value] == "" {
				names[value] = fmt.Sprintf("$p%d", len(names)+1)
			}
			value = names[value]
		}
		b = appendPair(b, column, value)
	}
	return string(append(b, '}'))
}

// eachRecord reads files record by record, counting from 0.
func eachRecord(files []extract.File, visit func(n int64, rec *extract.Record)) error {
	chunks, scanner := extract.OpenChunks(files), extract.NewScanner()
	defer chunks.Close()
	var chunk extract.Chunk
	var rec extract.Record
	for n := int64(0); ; {
		if err := chunks.Next(&chunk); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		for scanner.Reset(&chunk); scanner.Next(&rec); n++ {
			visit(n, &rec)
		}
	}
}
