package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// Format is the first line of every policy of this version of the language.
const Format = "policy/v1"

// SealedDropDefault is how long the archive ciphertext stays when a policy
// says nothing: six years (45 CFR 164.316(b)(2)(i)).
const SealedDropDefault = 6 * 366 * 24 * time.Hour

// include is a file that a policy names, as it was when the policy was loaded.
type include struct {
	name   string
	sha256 string
}

// Load reads a policy file and the texts it names, and checks everything that
// needs no environment. A file that cannot be read gives the error of the
// operating system; all other errors are a *strictyaml.Errors with every
// mistake. Values that are still to be filled in are left for Check.
func Load(path string) (*Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	folder := filepath.Dir(path)
	return parse(path, data, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	})
}

// mistakes are those of one policy.
type mistakes struct {
	source *strictyaml.Source // nil when the policy was not made by Load
	errs   *strictyaml.Errors
	broken map[string]bool // key paths whose value could not be read
}

// add notes a mistake at a key path, unless the value there could not be read,
// or is still to be filled in: then Check says so.
func (m *mistakes) add(path, hint, format string, args ...any) {
	var at strictyaml.Pos
	if m.source != nil {
		if m.broken[path] || m.source.IsPlaceholder(path) {
			return
		}
		at = m.source.At(path)
	}
	m.errs.Add(at, path, fmt.Sprintf(format, args...), hint)
}

// must notes a mistake when what stands at a key path is not right. A key that
// is not there is said to be missing, if it must be there, by the decoder.
func (m *mistakes) must(right bool, path, hint, format string, args ...any) {
	if !right && m.source.Has(path) {
		m.add(path, hint, format, args...)
	}
}

// text notes a mistake when a key is there and says nothing.
func (m *mistakes) text(path, value string) {
	m.must(strings.TrimSpace(value) != "", path, "", "the text is empty")
}

// reading is one policy on its way from the file to a Policy.
type reading struct {
	mistakes
	file   file
	policy *Policy
	open   func(name string) ([]byte, error)
}

func parse(path string, data []byte, open func(string) ([]byte, error)) (*Policy, error) {
	sum := sha256.Sum256(data)
	r := &reading{policy: &Policy{File: path, SHA256: hex.EncodeToString(sum[:])}, open: open}
	source, _ := strictyaml.Decode(path, data, &r.file, strictyaml.Drafts)
	r.mistakes, r.policy.source = mistakes{source, source.Errors(), map[string]bool{}}, source
	for _, m := range r.errs.List {
		r.broken[m.Path] = true
	}
	if r.source.Has("") {
		r.head()
		r.people()
		r.cohort()
		r.release()
		r.output()
		r.standard()
	}
	if err := r.errs.Err(); err != nil {
		return nil, err
	}
	return r.policy, nil
}

// oneOf notes a mistake unless the value at the path is one of the known ones.
// Values of later versions are told apart from unknown ones. A required key
// that is missing is noted by the decoder already.
func (r *reading) oneOf(path, value string, known ...string) bool {
	for _, k := range known {
		if value == k {
			return true
		}
	}
	key := path[strings.LastIndexByte(path, '.')+1:]
	switch why, later := laterWords[key][value]; {
	case !r.source.Has(path) || r.broken[path] || r.source.IsPlaceholder(path):
	case later || key == "layout" && strictyaml.Nearest(value, known) == "":
		if !later {
			why = "layout files; use layout: csv or layout: ndjson"
		}
		what, instead, _ := strings.Cut(why, "; ")
		r.errs.AddCause(r.source.At(path), path, ErrNotInThisVersion.Error()+": "+what, instead, ErrNotInThisVersion)
	default:
		r.add(path, strictyaml.DidYouMean(value, known), "%q is no value of %s", value, key)
	}
	return false
}

func (r *reading) head() {
	p, f := r.policy, &r.file
	p.Name, p.Version, p.Recipient = f.Policy, f.Version, f.Recipient
	p.Purpose, p.Basis, p.Because = f.Purpose, f.Basis, f.Because
	r.must(f.Postern == Format, "postern", "write postern: "+Format, "this version of Postern reads %s", Format)
	r.must(plainName(f.Policy), "policy", "write it like acme-phq9-gad7", "%q is no name: small letters, digits and hyphens, at most 64", f.Policy)
	r.must(f.Version >= 1, "version", "the first version is 1", "versions count from 1")
	if r.oneOf("standard", f.Standard, string(Identified), string(SafeHarbor)) {
		p.Standard = Standard(f.Standard)
	}
	r.must(KnownPurpose(f.Purpose), "purpose", strictyaml.DidYouMean(f.Purpose, sortedNames(purposes)), "%q is no HL7 v3 PurposeOfUse code", f.Purpose)
	r.text("because", f.Because)
	r.text("recipient", f.Recipient)
	r.agreement(&f.Agreement)
	r.attest()
	p.Tolerate.Rejected = float64(f.Tolerate.Rejected)
	p.Keep.SealedDrop = cmp.Or(time.Duration(f.Keep.SealedDrop), SealedDropDefault)
}

func plainName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		name[0] != '-' && name[len(name)-1] != '-'
}

func (r *reading) agreement(a *agreementFile) {
	r.oneOf("agreement.kind", a.Kind, "provider-contract", "participation", "baa", "dua", "authorization", "law")
	r.text("agreement.id", a.ID)
	from, to, review := r.date("agreement.from", a.From), extract.NoDay, r.date("agreement.review_by", a.ReviewBy)
	if !a.To.Open {
		to = r.date("agreement.to", a.To)
		r.must(to >= from || to == extract.NoDay, "agreement.to", "", "the agreement ends before it begins")
	} else if !r.source.Has("agreement.review_by") {
		r.add("agreement.to", "add review_by: with the date of the next review", "an open agreement needs a date by which it is reviewed")
	}
	r.policy.Agreement = Agreement{Kind: a.Kind, ID: a.ID, From: from, To: to, ReviewBy: review}
}

// date is NoDay for an absent date; the word open is refused.
func (r *reading) date(path string, d strictyaml.Date) extract.Day {
	if d.Open {
		r.add(path, "write a date", "only the end of an agreement can be open")
	}
	if d.IsZero() || d.Open {
		return extract.NoDay
	}
	return extract.DayOf(d.Time())
}

func (r *reading) attest() {
	const path = "attest.actual_knowledge"
	if !r.source.Has(path) {
		return
	}
	k := &r.file.Attest.ActualKnowledge
	at := &Attestation{By: k.By, On: r.date(path+".on", k.On), ReviewBy: r.date(path+".review_by", k.ReviewBy)}
	r.text(path+".by", k.By)
	r.must(at.ReviewBy > at.On || at.ReviewBy == extract.NoDay, path+".review_by", "", "the review lies before the attestation")
	r.must(k.NoneKnown, path+".none_known", "do not release while it is so", "the officer knows that what is left can identify a person (45 CFR 164.514(b)(2)(ii))")
	r.policy.Attest = at
}

func (r *reading) people() {
	p, f := r.policy, &r.file.People
	p.Inputs = map[string]Guard{}
	for _, in := range r.file.Inputs {
		p.Inputs[in.Key] = Guard{MaxAge: time.Duration(in.Value.MaxAge), ShrinkLimit: float64(in.Value.ShrinkLimit)}
		r.must(in.Value.MaxAge != 0, in.Path+".max_age", "", "the greatest age must be longer than nothing")
	}
	const related, choice = "people.relationship", "people.clinic_choice"
	r.input(related+".roster", f.Relationship.Roster)
	r.oneOf(related+".covered", f.Relationship.Covered, "at-service")
	r.oneOf(related+".if_ambiguous", f.Relationship.IfAmbiguous, "withhold")
	p.People = People{
		Roster: f.Relationship.Roster, Covered: f.Relationship.Covered, IfAmbiguous: f.Relationship.IfAmbiguous, ChoiceBecause: f.ClinicChoice.Because, Part2: DenyWithout, AcceptForms: f.Consent.Part2.AcceptForms,
		RegistryOptOut: r.oneOf(choice+".registry_opt_out", f.ClinicChoice.RegistryOptOut, "leave-out"),
		Part2LeaveOut:  r.oneOf(choice+".part2_program", f.ClinicChoice.Part2Program, "leave-out"),
	}
	r.text(choice+".because", f.ClinicChoice.Because)
	r.consent(&f.Consent.General, &f.Consent.Part2)
}

func (r *reading) consent(general *consentFile, part2 *part2File) {
	const path = "people.consent"
	if r.oneOf(path+".general.without_directive", general.WithoutDirective, "permit", "deny") {
		r.policy.People.General = ConsentRule(general.WithoutDirective)
	}
	r.oneOf(path+".general.if_unsure", general.IfUnsure, "withhold")
	if part2.WithoutDirective == "permit" {
		r.add(path+".part2.without_directive", "write without_directive: deny", "records of a Part 2 program leave only with consent (42 CFR 2.31)")
	} else {
		r.oneOf(path+".part2.without_directive", part2.WithoutDirective, "deny")
	}
	r.oneOf(path+".part2.if_unsure", part2.IfUnsure, "withhold")
	for i, form := range part2.AcceptForms {
		r.text(fmt.Sprintf("%s.part2.accept_forms[%d]", path, i), form)
	}
}

// input notes a mistake when a protective input has no guard under inputs.
func (r *reading) input(path, name string) {
	hint := "add it there with max_age and shrink_limit"
	if near := strictyaml.Nearest(name, sortedNames(r.policy.Inputs)); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	_, guarded := r.policy.Inputs[name]
	r.must(guarded, path, hint, "%q is not under inputs", name)
}

func (r *reading) output() {
	f := &r.file.Output
	r.oneOf("output.layout", f.Layout, "csv", "ndjson")
	r.oneOf("output.mode", f.Mode, "full")
	r.oneOf("output.part2_rows", f.Part2Rows, "own-file", "leave-out")
	r.oneOf("output.shuffle", f.Shuffle, "people")
	r.policy.Output = Output{Layout: f.Layout, Mode: f.Mode, RowKey: f.RowKey, Part2Rows: f.Part2Rows, Shuffle: f.Shuffle}
	r.totals()
	r.notices()
}

func (r *reading) totals() {
	for i, text := range r.file.Totals {
		t := Total{Kind: text}
		if column, ok := strings.CutPrefix(text, "sum of "); ok {
			t = Total{"sum", column}
		} else if column, ok := strings.CutPrefix(text, "rows by "); ok {
			t = Total{"rows-by", column}
		}
		path := fmt.Sprintf("totals[%d]", i)
		switch {
		case t.Kind != "people" && t.Kind != "rows" && t.Column == "":
			r.add(path, "write people, rows, sum of COLUMN, or rows by COLUMN", "%q is no control total", text)
		case t.Column != "" && !r.policy.releases(t.Column):
			r.add(path, "a total is taken over what is released only", "%q is not among the released fields", t.Column)
		case t.Column != "" && r.policy.Output.Layout == "ndjson":
			r.add(path, "write people or rows", "totals over a column are taken of csv only")
		}
		r.policy.Totals = append(r.policy.Totals, t)
	}
}

func (p *Policy) releases(name string) bool {
	for _, rel := range p.Release {
		for _, f := range rel.Fields {
			if f.Name == name {
				return true
			}
		}
	}
	return false
}

func (r *reading) notices() {
	f := r.file.Notices
	r.policy.Notices = f
	r.oneOf("notices.scope_of_consent", f.ScopeOfConsent, "per-row")
	const path = "notices.part2"
	if f.Part2 == "" || r.source.IsPlaceholder(path) {
		r.text(path, f.Part2)
		return
	}
	if !filepath.IsLocal(filepath.FromSlash(f.Part2)) {
		r.add(path, "keep the text beside the policy and name it by a relative path", "%q leaves the policy's folder", f.Part2)
		return
	}
	text, err := r.open(f.Part2)
	if err != nil {
		var at *os.PathError
		if errors.As(err, &at) {
			err = at.Err
		}
		r.add(path, "paths are relative to the policy file", "cannot read %q: %v", f.Part2, err)
		return
	}
	sum := sha256.Sum256(text)
	r.policy.includes = append(r.policy.includes, include{f.Part2, hex.EncodeToString(sum[:])})
	r.legal(path, f.Part2, text)
}

// Digest is the SHA-256 of the policy's closure, hex: of the lines that
// sha256sum would print for the policy and the texts it names, the policy
// first under the name "policy", the others by name. It is what approvers sign.
func (p *Policy) Digest() string {
	files := slices.SortedFunc(slices.Values(p.includes), func(a, b include) int { return strings.Compare(a.name, b.name) })
	h := sha256.New()
	fmt.Fprintf(h, "%s  policy\n", p.SHA256)
	for _, f := range files {
		fmt.Fprintf(h, "%s  %s\n", f.sha256, f.name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
