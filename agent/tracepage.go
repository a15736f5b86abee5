package agent

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// Report is the trace for an auditor to read or to print.
func (t *Trace) Report() *page.Report {
	r := &page.Report{Title: fmt.Sprintf("Row %d of %s", t.Row, t.File)}
	s := r.Section("Where it came from, and where it went")
	s.Table = page.Table{Caption: "What is known of the row", Head: []string{"What", "Which"}}
	s.Row("stands in", fmt.Sprintf("drop %d of %s, for %s%s", t.Number, t.Exchange, t.Recipient, t.rowWords()))
	s.Row("made from", t.Source.words(t.Dataset))
	s.Row("decision", fmt.Sprintf("released; periods and ages as of %s; what patients have decided as it stood %s", t.AsOf, timeWords(t.DecidedAt)))
	s.Row("ground in law", fmt.Sprintf("%s, for %s%s", t.Policy.Basis, t.Policy.Purpose, stepWords(t.Applies)))
	if t.RestsOn != "" {
		s.Row("rests on", strings.ReplaceAll(strings.TrimSpace(t.RestsOn), "\n", "; "))
	}
	s.Row("policy", fmt.Sprintf("%s, version %d, %s, SHA-256 %s", t.Policy.Name, t.Policy.Version, t.Policy.Standard, t.Policy.SHA256))
	s.Row("approved", fmt.Sprintf("by %s: all that it stood on, SHA-256 %s", cmp.Or(strings.Join(t.Approved, " and "), "nobody that the ledger names"), t.Closure))
	s.Row("codes", "epoch "+t.Epoch)
	s.Row("drop", fmt.Sprintf("committed %s, ledger entry %d, manifest SHA-256 %s", timeWords(t.Committed), t.Entry, t.Manifest))
	s.Row("delivery", t.deliveryWords())
	for _, a := range t.Receipts {
		s.Row("answer", fmt.Sprintf("%s, taken %s, SHA-256 %s", a.Outcome, timeWords(a.Taken), a.SHA256))
	}
	s.Row("kept until", cmp.Or(t.KeptUntil, "not told"))
	f := r.Section("What leaves of each field of " + t.Dataset)
	f.Table = page.Table{Caption: "Fields that leave", Head: []string{"Field", "What leaves of it"}}
	for _, p := range t.Fields {
		f.Row(p.Path, cmp.Or(doneWords[p.Done], p.Done))
	}
	return r
}

func (s *SentRow) rowWords() (text string) {
	if s.RowKey != "" {
		text += ", key " + s.RowKey
	}
	if s.Action != "" {
		text += ", to " + s.Action
	}
	if s.Part2 {
		text += ", under 42 CFR Part 2"
	}
	return text
}

func (l *TracedLine) words(dataset string) string {
	text := fmt.Sprintf("%s:%d", l.File, l.Line)
	if l.Entry > 0 {
		text += fmt.Sprintf(" (entry %d)", l.Entry)
	}
	text += fmt.Sprintf(", dataset %s, file's SHA-256 %s", dataset, l.SHA256)
	switch l.Now {
	case "same":
		return text + fmt.Sprintf("; the file is still there: %s:%d", l.There, l.Line)
	case "changed":
		return text + "; another file has its name now"
	}
	return text + "; the file is gone"
}

// stepWords name the steps of the decision that bound the disclosure.
func stepWords(s policies.Steps) string {
	var asked []string
	for _, step := range []struct {
		binds bool
		name  string
	}{
		{s.SelfPay, "self-pay restrictions"}, {s.Agreed, "agreed restrictions"}, {s.Relationship, "relationship"}, {s.Consent, "what the patient decided"},
		{s.Authorization, "authorization"}, {s.Part2, "42 CFR Part 2"}, {s.MinimumNecessary, "minimum necessary"},
	} {
		if step.binds {
			asked = append(asked, step.name)
		}
	}
	if len(asked) == 0 {
		return ""
	}
	return "; asked were " + strings.Join(asked, ", ")
}

func (d *TracedDrop) deliveryWords() string {
	text := d.State
	if d.Note != "" {
		text += " (" + d.Note + ")"
	}
	if !d.Delivered.IsZero() {
		text += ", ended " + timeWords(d.Delivered)
	}
	var e transfer.Evidence
	if json.Unmarshal(d.Evidence, &e) == nil && len(e.Files) > 0 {
		text += fmt.Sprintf("; %d files %s at %s", len(e.Files), e.State, e.Plan.Server)
		if e.Plan.HostKey != "" {
			text += ", host key " + e.Plan.HostKey
		}
	}
	return text
}
