package agent

import (
	"bytes"
	"context"
	"encoding/csv"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/durable"
)

// loadMerges reads who is one person with whom, before any other input names a
// patient. A merge that has vanished from its file holds until it is ended.
func (r *run) loadMerges(ctx context.Context) error {
	for _, name := range r.inputNames() {
		if r.isMerges(name) {
			if err := r.loadInput(ctx, name); err != nil {
				return err
			}
		}
	}
	if err := r.restoreClosings(ctx, mergeGroup, r.tables.Merges); err != nil {
		return err
	}
	return r.tables.Merges.Settle()
}

func (r *run) isMerges(name string) bool {
	return policyKinds[r.agent.Config.Inputs[name].Kind] == "merges"
}

// Merge is a finding about two ids of patients: that they are one person, that
// they may be, or that they are not.
type Merge struct {
	From, Into string
	Unresolved bool
	EndedBy    string // who found that they are two people after all
}

// MergeSubjects adds a row to the list of merges that the configuration names
// as an input, or to the named one where there are several. The file's date
// stays: that an officer wrote a row makes the rest of it no fresher.
func (a *Agent) MergeSubjects(list string, m Merge) (path string, err error) {
	if m.From == "" || m.Into == "" || m.From == m.Into {
		return "", fail(Usage, nil, "name the id that is given up, then the one that stands for it", "a merge needs two different ids")
	}
	var lists []string
	for name, in := range a.Config.Inputs {
		if in.Kind == MergesInput && (list == "" || list == name) {
			lists = append(lists, name)
		}
	}
	slices.Sort(lists)
	switch {
	case len(lists) == 0:
		return "", fail(Configuration, nil, "add one under inputs: {kind: merges, file: inputs/merges.csv, max_age: …, shrink_limit: 0%}", "there is no input of kind merges to write to")
	case len(lists) > 1:
		return "", fail(Configuration, nil, "say which: --input NAME", "there are several inputs of kind merges: %s", strings.Join(lists, ", "))
	}
	path = a.Config.Path(a.Config.Inputs[lists[0]].File)
	text, info, err := readList(path)
	if err != nil {
		return "", stale(err, "", "protective input %s", lists[0])
	}
	added, err := appendMerge(text, m, a.Now().In(a.Config.Zone))
	if err != nil {
		return "", stale(err, "nothing was written", "protective input %s", lists[0])
	}
	if err := durable.ReplaceFile(path, added, 0o600); err != nil {
		return "", err
	}
	if info == nil {
		return path, nil
	}
	return path, os.Chtimes(path, time.Time{}, info.ModTime())
}

// readList reads a list; one that is not there yet has no rows.
func readList(path string) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return []byte("from,into,status,ended_on,ended_by\n"), nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	text, err := os.ReadFile(path)
	return text, info, err
}

// appendMerge adds a row under whatever columns the list has.
func appendMerge(text []byte, m Merge, now time.Time) ([]byte, error) {
	columns, err := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff")))).Read()
	if err != nil {
		return nil, fmt.Errorf("its first row cannot be read: %w", err)
	}
	cells := map[string]string{"from": m.From, "into": m.Into}
	if m.Unresolved {
		cells["status"] = "unresolved"
	}
	if m.EndedBy != "" {
		cells["ended_on"], cells["ended_by"] = now.Format(time.DateOnly), m.EndedBy
	}
	row := make([]string, len(columns))
	for i, c := range columns {
		row[i] = cells[strings.TrimSpace(c)]
		delete(cells, strings.TrimSpace(c))
	}
	for column := range cells {
		return nil, fmt.Errorf("it has no column %s", column)
	}
	if n := len(text); n > 0 && text[n-1] != '\n' {
		text = append(text, '\n')
	}
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.Write(row); err != nil {
		return nil, err
	}
	w.Flush()
	return append(text, b.Bytes()...), w.Error()
}
