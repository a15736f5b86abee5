package agent

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// DropPage is all that the clinic can tell of one drop without its archive.
type DropPage struct {
	DropStatus
	Book        Counts                `json:"book"` // what the drop holds, as its book tells the recipient
	Totals      []transfer.Total      `json:"totals"`
	Recipients  Counts                `json:"recipient_says"` // of the answer that counts; -1: not told
	Events      []DropEvent           `json:"events"`
	Evidence    *transfer.Evidence    `json:"evidence,omitempty"`
	Files       []transfer.SealedFile `json:"files"`
	Answers     []Answer              `json:"answers,omitempty"`
	Codes       map[string]int64      `json:"codes,omitempty"` // rows that were not simply taken, by "verdict code"
	Differences []Difference          `json:"differences,omitempty"`
	Voids       []int64               `json:"voids,omitempty"` // numbers that its manifest explains as void
}

// Counts are rows and people; people are 0 where nobody counts them.
type Counts struct {
	Rows    int64 `json:"rows"`
	Refused int64 `json:"refused,omitempty"`
	People  int64 `json:"people,omitempty"`
}

// DropEvent is an entry of the ledger about a drop.
type DropEvent struct {
	At   time.Time      `json:"at"`
	Kind ledger.Kind    `json:"kind"`
	Data map[string]any `json:"data,omitempty"`
}

// Answer is one thing the recipient, or a person for it, has said of a drop.
type Answer struct {
	At      time.Time `json:"at"`
	Outcome string    `json:"outcome"`
	Name    string    `json:"name,omitempty"`
	By      string    `json:"by,omitempty"`
	Rows    int64     `json:"rows"` // taken; -1: it does not tell
	Refused int64     `json:"refused"`
	SHA256  string    `json:"sha256"`
}

// Drop gives the page of one drop.
func (a *Agent) Drop(ctx context.Context, exchange string, number int64) (*DropPage, error) {
	pages, err := a.dropPages(ctx, exchange, number)
	if err != nil {
		return nil, err
	}
	if len(pages) == 0 {
		return nil, noSuchDrop(exchange, number)
	}
	p := &pages[0]
	var files, evidence string
	err = a.db.QueryRowContext(ctx, `SELECT files, evidence FROM delivery WHERE exchange = ? AND number = ?`, exchange, number).Scan(&files, &evidence)
	if err == nil {
		err = json.Unmarshal([]byte(files), &p.Files)
	}
	if err == nil && evidence != "" {
		p.Evidence = new(transfer.Evidence)
		err = json.Unmarshal([]byte(evidence), p.Evidence)
	}
	if err != nil {
		return nil, err
	}
	return p, errors.Join(a.dropAnswers(ctx, p), a.dropEvents(ctx, p))
}

func noSuchDrop(exchange string, number int64) error {
	return fail(AnsweredNo, nil, "`postern drops list "+exchange+"` shows them", "exchange %s has no drop %d", exchange, number)
}

// ThreeWay tells of each drop of an exchange, or of all when it is empty, what
// was read and released, what the drop holds, and what the recipient says.
func (a *Agent) ThreeWay(ctx context.Context, exchange string) ([]DropPage, error) {
	return a.dropPages(ctx, exchange, 0)
}

func (a *Agent) dropPages(ctx context.Context, exchange string, number int64) (pages []DropPage, err error) {
	drops, err := a.Drops(ctx, exchange)
	if err != nil {
		return nil, err
	}
	for _, d := range drops {
		if number != 0 && d.Number != number {
			continue
		}
		expect, _, err := a.expectation(ctx, d.Exchange, d.Number)
		if err != nil {
			return nil, err
		}
		p := DropPage{DropStatus: d, Book: Counts{Rows: expect.Rows, People: expect.People}, Totals: expect.Totals}
		if p.Recipients, err = a.recipientSays(ctx, &d); err != nil {
			return nil, err
		}
		pages = append(pages, p)
	}
	return pages, nil
}

func (a *Agent) dropAnswers(ctx context.Context, p *DropPage) error {
	var answer Answer
	var at int64
	if err := each(ctx, a.db, row{&at, &answer.Outcome, &answer.Name, &answer.By, &answer.Rows, &answer.Refused, &answer.SHA256}, func() error {
		answer.At = time.UnixMilli(at).UTC()
		p.Answers = append(p.Answers, answer)
		return nil
	}, `SELECT taken, status, name, by, rows, refused, sha256 FROM receipt WHERE exchange = ? AND number = ? ORDER BY rowid`, p.Exchange, p.Number); err != nil {
		return err
	}
	var code string
	var n int64
	if err := each(ctx, a.db, row{&code, &n}, func() error {
		if p.Codes == nil {
			p.Codes = map[string]int64{}
		}
		p.Codes[code] = n
		return nil
	}, `SELECT trim(verdict || ' ' || code), count(DISTINCT key) FROM row_answer WHERE exchange = ? AND number = ? GROUP BY 1`, p.Exchange, p.Number); err != nil {
		return err
	}
	var err error
	p.Differences, err = a.Differences(ctx, p.Exchange, p.Number)
	return err
}

// dropEvents reads of the ledger what happened to the drop, to its differences,
// and which earlier numbers its manifest explains.
func (a *Agent) dropEvents(ctx context.Context, p *DropPage) error {
	var void int64
	if err := each(ctx, a.db, row{&void}, func() error {
		p.Voids = append(p.Voids, void)
		return nil
	}, `SELECT number FROM delivery WHERE exchange = ? AND explained = ? ORDER BY number`, p.Exchange, p.Number); err != nil {
		return err
	}
	config, err := a.Config.Exchange(p.Exchange)
	if err != nil {
		return err
	}
	for entry, err := range a.LedgerEntries(ctx) {
		if err != nil {
			return err
		}
		var event struct {
			DropEvent
			Exchange string `json:"exchange"`
			Sequence int64  `json:"sequence"`
		}
		if err := json.Unmarshal(entry.Text, &event); err != nil || event.Exchange != config.ID || event.Sequence != p.Number {
			continue
		}
		if event.Kind == ledger.TestDrop { // it has a number of its own
			continue
		}
		if event.Kind != ledger.Difference {
			p.Events = append(p.Events, event.DropEvent)
			continue
		}
		var did struct {
			At   time.Time       `json:"at"`
			Data DifferenceEvent `json:"data"`
		}
		if err := json.Unmarshal(entry.Text, &did); err != nil {
			return err
		}
		did.Data.At = did.At
		if i := slices.IndexFunc(p.Differences, func(d Difference) bool { return d.ID == did.Data.ID }); i >= 0 {
			p.Differences[i].History = append(p.Differences[i].History, did.Data)
		}
	}
	return nil
}

// Report is the page for an officer or IT to read or to print.
func (p *DropPage) Report() *page.Report {
	r := &page.Report{Title: fmt.Sprintf("Drop %d of %s: %s", p.Number, p.Exchange, p.State)}
	says := []string{fmt.Sprintf("It is for %s, with periods and ages as of %s. Of %d records that were read, %d were released, about %d people; the drop holds %d rows about %d people.",
		p.Recipient, p.AsOf, p.Source, p.Released, p.People, p.Book.Rows, p.Book.People)}
	if p.Recipients.Rows >= 0 {
		says = append(says, fmt.Sprintf("The recipient has taken %d rows and refused %d.", p.Recipients.Rows, p.Recipients.Refused))
	}
	if p.Note != "" {
		says = append(says, "Note: "+p.Note+".")
	}
	if p.Problem != "" {
		says = append(says, "The last attempt to deliver it failed: "+p.Problem+".")
	}
	if p.Explained > 0 {
		says = append(says, fmt.Sprintf("The manifest of drop %d says that it is void.", p.Explained))
	}
	for i := range p.Recalls {
		says = append(says, "There is "+p.Recalls[i].Words()+".")
	}
	if len(p.Voids) > 0 {
		says = append(says, "Its manifest says that these are void: "+strings.Trim(fmt.Sprint(p.Voids), "[]")+".")
	}
	r.Section("In short", says...)
	if len(p.Totals) > 0 {
		totals := r.Section("Control totals")
		totals.Table = page.Table{Caption: "Control totals over the rows", Head: []string{"Total", "value"}, Numbers: 1}
		for _, t := range p.Totals {
			totals.Row(t.Name, t.Value)
		}
	}
	p.reportAnswers(r)
	p.reportDifferences(r)
	happened := r.Section("What happened", "As the ledger has it.")
	happened.Table = page.Table{Caption: "Entries of the ledger", Head: []string{"When", "what", "in detail"}}
	for _, e := range p.Events {
		happened.Row(timeWords(e.At), string(e.Kind), e.words())
	}
	p.reportFiles(r)
	return r
}

// timeWords writes a time of a page, in UTC.
func timeWords(t time.Time) string { return t.UTC().Format("2006-01-02 15:04Z") }

// words are what an entry says in plain values.
func (e *DropEvent) words() string {
	var words []string
	for _, name := range slices.Sorted(maps.Keys(e.Data)) {
		switch v := e.Data[name].(type) {
		case string, bool, float64:
			words = append(words, fmt.Sprintf("%s %v", strings.ReplaceAll(name, "_", " "), v))
		}
	}
	return strings.Join(words, ", ")
}

func (p *DropPage) reportAnswers(r *page.Report) {
	s := r.Section("What the recipient answered")
	if len(p.Answers) == 0 {
		s.Says = []string{"Nothing yet."}
		return
	}
	s.Table = page.Table{Caption: "Answers", Head: []string{"When", "outcome", "in what", "SHA-256", "taken", "refused"}, Numbers: 2}
	counted := func(n int64) string {
		if n < 0 {
			return "not told"
		}
		return fmt.Sprint(n)
	}
	for _, a := range p.Answers {
		name := cmp.Or(a.Name, "signed receipt")
		if a.By != "" {
			name += ", by hand: " + a.By
		}
		s.Row(timeWords(a.At), a.Outcome, name, a.SHA256, counted(a.Rows), counted(a.Refused))
	}
	for _, code := range slices.Sorted(maps.Keys(p.Codes)) {
		s.Says = append(s.Says, fmt.Sprintf("%s: %s.", many(int(p.Codes[code]), "row"), code))
	}
}

func (p *DropPage) reportDifferences(r *page.Report) {
	if len(p.Differences) == 0 {
		return
	}
	s := r.Section("Differences")
	s.Table = page.Table{Caption: "Differences and what was done about them", Head: []string{"Number", "when", "did", "what"}}
	for _, d := range p.Differences {
		for _, e := range d.History {
			did, what := e.Did, e.Because
			switch e.Did {
			case "opened":
				what = fmt.Sprintf("%s: expected %s, received %s (%s)", d.What, d.Expected, d.Received, d.Where)
			case "assigned":
				did += " to " + e.To
			}
			if e.By != "" {
				did += ", by " + e.By
			}
			s.Row(fmt.Sprint(d.ID), timeWords(e.At), did, what)
		}
	}
}

func (p *DropPage) reportFiles(r *page.Report) {
	s := r.Section("What was sent")
	if p.Evidence != nil {
		s.Says = []string{fmt.Sprintf("The server %s let us see: %s. %s to deliver it.", p.Evidence.Plan.Server, p.Evidence.State, many(int(p.Attempts), "attempt"))}
	}
	s.Table = page.Table{Caption: "Files in the order of upload", Head: []string{"File", "state", "SHA-256", "bytes"}, Numbers: 1}
	for _, f := range p.Files {
		state := "not sent"
		if p.Evidence != nil {
			if i := slices.IndexFunc(p.Evidence.Files, func(e transfer.Event) bool { return e.File == f.Name }); i >= 0 {
				state = p.Evidence.Files[i].State.String()
			}
		}
		s.Row(f.Name, state, f.SHA256, fmt.Sprint(f.Size))
	}
}
