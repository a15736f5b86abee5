package agent

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/policies"
)

// ClinicBook is the summary of the clinic's book, as build tells it.
type ClinicBook struct{ *build.ClinicBook }

// ClinicBook opens the archived book of a drop. The archive's private key is
// only read, and kept nowhere.
func (a *Agent) ClinicBook(ctx context.Context, exchange string, number int64, archiveKey string) (*ClinicBook, error) {
	if _, err := a.Config.Exchange(exchange); err != nil {
		return nil, err
	}
	var dir, manifest string
	err := a.db.QueryRowContext(ctx, `SELECT dir, manifest FROM delivery WHERE exchange = ? AND number = ?`, exchange, number).Scan(&dir, &manifest)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, noSuchDrop(exchange, number)
	}
	if err != nil {
		return nil, err
	}
	identities, err := archiveIdentities(archiveKey)
	if err != nil {
		return nil, err
	}
	commits, err := a.committedDrops(ctx)
	if err != nil {
		return nil, err
	}
	book, err := a.readClinicBook(dir, commits[manifest], identities)
	if err != nil {
		return nil, err
	}
	return &ClinicBook{book}, nil
}

func (a *Agent) readClinicBook(dir string, commit committedDrop, identities []age.Identity) (*build.ClinicBook, error) {
	var book build.ClinicBook
	return &book, a.readPrivate(dir, "clinic-book", commit, identities, func(plain io.Reader) error {
		text, err := io.ReadAll(plain)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &book); err != nil || book.Form != build.ClinicBookForm || book.Outcome == nil {
			return fmt.Errorf("it is no %s", build.ClinicBookForm)
		}
		return nil
	})
}

// Report is the book for the officer to read or to print.
func (b *ClinicBook) Report() *page.Report {
	o := b.Outcome
	title, left, stays := fmt.Sprintf("Drop %d of %s: what was done", o.Number, o.Exchange), "left", "stayed"
	if b.Gate == nil {
		title, left, stays = "Plan of "+o.Exchange+": what would be done", "would leave", "would stay"
	}
	r := &page.Report{Title: title}
	stayed := int64(0)
	for _, d := range b.Datasets {
		stayed += d.Dispositions[extract.Withheld.String()] + d.Dispositions[extract.Suppressed.String()]
	}
	r.Section("In short",
		fmt.Sprintf("This is for %s. Periods and ages are those of %s; what patients have decided was judged as it stood on %s.", o.Recipient, dayWords(o.AsOf), o.DecidedAt.Format("January 2, 2006, at 15:04 (UTC-07:00)")),
		fmt.Sprintf("Of %s in the source, %d %s; they are about %d people. %d that were asked for %s.", many(int(o.Source), "record"), o.Released, left, o.People, stayed, stays),
		"This account stays at the clinic. It holds counts and names of fields, and nothing of any record.")
	b.outcomes(r)
	for _, d := range b.Datasets {
		if d.Paths != nil {
			b.paths(&d, r)
		}
	}
	b.gate(r)
	b.stoodOn(r)
	return r
}

// outcomes tells what became of the records, and why.
func (b *ClinicBook) outcomes(r *page.Report) {
	all := r.Section("What became of the records", "Each record has one outcome; each line adds up.")
	all.Table = page.Table{Caption: "Records by outcome", Head: []string{"Records", "in the source"}, Numbers: 1 + extract.Dispositions}
	for d := range extract.Dispositions {
		all.Table.Head = append(all.Table.Head, extract.Disposition(d).String())
	}
	why := r.Section("Why records did not leave", "Where there were several reasons, the first in the order of decision is counted. The list of all, by file and line, lies beside this account in the archive.")
	why.Table = page.Table{Caption: "Records that did not leave, by reason", Head: []string{"Records of", "outcome", "reason", "number"}, Numbers: 1}
	meaning := r.Section("What the reasons mean")
	meaning.Table = page.Table{Caption: "Reasons", Head: []string{"Reason", "What it means", "Law"}}
	told := map[string]bool{}
	for _, d := range b.Datasets {
		row := []string{d.Dataset, fmt.Sprint(d.Source)}
		for outcome := range extract.Dispositions {
			row = append(row, fmt.Sprint(d.Dispositions[extract.Disposition(outcome).String()]))
		}
		all.Row(row...)
		for _, w := range d.Why {
			why.Row(d.Dataset, w.Disposition, w.Reason, fmt.Sprint(w.Records))
			if !told[w.Reason] {
				told[w.Reason] = true
				meaning.Row(w.Reason, w.Says, w.Law)
			}
		}
	}
	if len(b.Outcome.Rejected) > 0 {
		bad := r.Section("Records that could not be used", fmt.Sprintf("The first %d are told here.", len(b.Outcome.Rejected)))
		bad.Table = page.Table{Caption: "Rejected records", Head: []string{"Where", "Records of", "Reason", "What is wrong"}}
		for _, j := range b.Outcome.Rejected {
			bad.Row(j.Place, j.Dataset, j.Reason, j.Detail)
		}
	}
}

// doneWords say what is done to a value.
var doneWords = map[string]string{
	string(policies.Keep): "as it is", string(policies.CodePerson): "a random code in its place", string(policies.Token): "a code computed with a secret key in its place",
	string(policies.Ordinal): "a number that counts within the drop", string(policies.Year): "the year", string(policies.AgeBand): "the age, in bands", string(policies.Age): "the age in years, 90 and over as one",
	string(policies.ZIP3): "the first three digits, or 000", string(policies.RelativeTime): "the time since the index date", string(policies.ShiftDate): "moved by a random number of days",
	string(policies.Round): "rounded", string(policies.Map): "in groups", string(policies.Constant): "a fixed text",
	build.NotReleased: "the policy does not name it", build.Unknown: "unknown: FHIR has no such element there, or the extension is not known",
	build.Extended: "an extension of a simple value", build.OtherForm: "not of the form that FHIR gives it",
}

// paths tells what was done to each path of a dataset.
func (b *ClinicBook) paths(d *build.DatasetBook, r *page.Report) {
	left := r.Section("What was done to "+d.Dataset, fmt.Sprintf("This is about the %s that left. A value that could not be transformed, or that no column of a layout takes, did not leave.", many(int(d.Dispositions[extract.Released.String()]), "record")))
	left.Table = page.Table{Caption: d.Dataset + ": fields that the policy releases", Head: []string{"Field", "What leaves of it", "values met", "left", "did not"}, Numbers: 3}
	stayed := &page.Section{Heading: "What else stood in " + d.Dataset + " and did not leave", Says: []string{"What is not named by the policy stays, whatever it is. It is counted once, however much is below it. A name that is in no table is not told, because it could itself say something about a person."}}
	stayed.Table = page.Table{Caption: d.Dataset + ": what was left out", Head: []string{"Where", "Why", "met"}, Numbers: 1}
	without := 0
	for _, p := range d.Paths {
		if slices.Contains([]string{build.NotReleased, build.Unknown, build.Extended, build.OtherForm}, p.Done) {
			stayed.Row(p.Path, doneWords[p.Done], fmt.Sprint(p.Met))
			continue
		}
		if p.Met == 0 {
			without++
			continue
		}
		left.Row(p.Path, cmp.Or(doneWords[p.Done], p.Done), fmt.Sprint(p.Met), fmt.Sprint(p.Left), fmt.Sprint(p.Met-p.Left))
	}
	if without > 0 {
		left.Says = append(left.Says, fmt.Sprintf("Of what the policy releases, %s had no value in any of them.", many(without, "field")))
	}
	if d.ReferencesCut > 0 {
		left.Says = append(left.Says, fmt.Sprintf("%s that pointed to something outside the drop were taken out of what left.", many(int(d.ReferencesCut), "reference")))
	}
	if len(stayed.Table.Rows) > 0 {
		r.Sections = append(r.Sections, stayed)
	}
}

func (b *ClinicBook) gate(r *page.Report) {
	if b.Gate == nil {
		r.Section("The last look", "A plan seals nothing, so the gate has not looked at it. A run does, and stops where it finds something.")
		return
	}
	s := r.Section("The last look", "Before it was sealed, the gate read each line once more, by rules of its own, and looked for identifiers and for the people of this extract.",
		fmt.Sprintf("It judged %d values in %d rows, searched %d of them, and found %d; people have excepted %d.", b.Gate.Values, b.Gate.Rows, b.Gate.Searched, b.Gate.Hits, b.Gate.Excepted))
	s.Table = page.Table{Caption: "What the gate judged", Head: []string{"Records of", "rows", "values", "searched"}, Numbers: 3}
	for _, d := range b.Datasets {
		if d.Judged != nil {
			s.Row(d.Dataset, fmt.Sprint(d.Judged.Rows), fmt.Sprint(d.Judged.Values), fmt.Sprint(d.Judged.Searched))
		}
	}
}

// stoodOn tells by what all this was done, to the byte.
func (b *ClinicBook) stoodOn(r *page.Report) {
	s := r.Section("By what this was done", fmt.Sprintf("Policy %s, version %d, a release of the standard %s. What approvers have signed has the SHA-256 %s.", b.Policy.Name, b.Policy.Version, b.Policy.Standard, b.Closure))
	s.Table = page.Table{Caption: "What was read, with SHA-256", Head: []string{"What", "Which", "SHA-256 or fingerprint"}}
	s.Row("policy and its texts", b.Policy.Name, b.Policy.SHA256)
	for _, f := range b.Policy.Files {
		s.Row("file of the policy", f.Name, f.SHA256)
	}
	for _, in := range b.Inputs {
		s.Row("list of the clinic", fmt.Sprintf("%s (%s, %s)", in.Name, in.Kind, many(in.Rows, "row")), in.SHA256)
	}
	for _, f := range b.Sources {
		s.Row("file of the extract", f.Name, f.SHA256)
	}
	for _, t := range b.Tables {
		s.Row("table", t.Name+", "+t.Version, t.SHA256)
	}
	s.Row("codes and keys of rows", "epoch "+b.Keys.Epoch, "")
	s.Row("key that signs", "", b.Keys.Signing)
	s.Row("key of the archive", "", b.Keys.Archive)
	for _, k := range b.Keys.Recipients {
		s.Row("key of the recipient", b.Outcome.Recipient, k)
	}
	if e := b.Keys.Sealing; e != nil {
		s.Row("encrypted", fmt.Sprintf("%s, %s, to %s", e.Format, e.Cipher, strings.Join(e.Keys, ", ")), e.Signed)
		s.Row("by the module", e.Module, "")
	}
}
