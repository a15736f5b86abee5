package policies

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sort"
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

// reading is one policy on its way from the file to a Policy.
type reading struct {
	file   file
	policy *Policy
	source *strictyaml.Source
	errs   *strictyaml.Errors
	open   func(name string) ([]byte, error)
	broken map[string]bool // key paths whose value could not be read
}

func parse(path string, data []byte, open func(string) ([]byte, error)) (*Policy, error) {
	sum := sha256.Sum256(data)
	r := &reading{policy: &Policy{File: path, SHA256: hex.EncodeToString(sum[:])}, open: open}
	r.source, _ = strictyaml.Decode(path, data, &r.file, strictyaml.Drafts)
	r.errs = r.source.Errors()
	r.policy.source, r.broken = r.source, map[string]bool{}
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

// add notes a mistake at a key path, unless the value there could not be read,
// or is still to be filled in: then Check says so.
func (r *reading) add(path, hint, format string, args ...any) {
	if !r.broken[path] && !r.source.IsPlaceholder(path) {
		r.errs.Add(r.source.At(path), path, fmt.Sprintf(format, args...), hint)
	}
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
	if f.Postern != Format && r.source.Has("postern") {
		r.add("postern", "write postern: "+Format, "this version of Postern reads %s", Format)
	}
	if !plainName(f.Policy) && r.source.Has("policy") {
		r.add("policy", "write it like acme-phq9-gad7", "%q is no name: small letters, digits and hyphens, at most 64", f.Policy)
	}
	if f.Version < 1 && r.source.Has("version") {
		r.add("version", "the first version is 1", "versions count from 1")
	}
	if r.oneOf("standard", f.Standard, string(Identified), string(SafeHarbor)) {
		p.Standard = Standard(f.Standard)
	}
	if !KnownPurpose(f.Purpose) && r.source.Has("purpose") {
		r.add("purpose", strictyaml.DidYouMean(f.Purpose, purposeNames()), "%q is no HL7 v3 PurposeOfUse code", f.Purpose)
	}
	r.text("because", f.Because)
	r.text("recipient", f.Recipient)
	r.agreement(f.Agreement)
	r.attest(f.Attest)
	if f.Tolerate != nil {
		p.Tolerate.Rejected = float64(f.Tolerate.Rejected)
	}
	p.Keep.SealedDrop = SealedDropDefault
	if f.Keep != nil && f.Keep.SealedDrop > 0 {
		p.Keep.SealedDrop = time.Duration(f.Keep.SealedDrop)
	}
}

// text notes a mistake when a key is there and says nothing.
func (r *reading) text(path, value string) {
	if strings.TrimSpace(value) == "" && r.source.Has(path) {
		r.add(path, "", "the text is empty")
	}
}

func plainName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		name[0] != '-' && name[len(name)-1] != '-'
}

func (r *reading) agreement(a *agreementFile) {
	if a == nil {
		return
	}
	r.oneOf("agreement.kind", a.Kind, "provider-contract", "participation", "baa", "dua", "authorization", "law")
	r.text("agreement.id", a.ID)
	from := r.date("agreement.from", a.From)
	to, review := extract.NoDay, r.date("agreement.review_by", a.ReviewBy)
	switch {
	case !a.To.Open:
		to = r.date("agreement.to", a.To)
		if to != extract.NoDay && from != extract.NoDay && to < from {
			r.add("agreement.to", "", "the agreement ends before it begins")
		}
	case !r.source.Has("agreement.review_by"):
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

func (r *reading) attest(a *attestFile) {
	if a == nil || a.ActualKnowledge == nil {
		return
	}
	const path = "attest.actual_knowledge"
	k := a.ActualKnowledge
	at := &Attestation{NoneKnown: k.NoneKnown, By: k.By, On: r.date(path+".on", k.On), ReviewBy: r.date(path+".review_by", k.ReviewBy)}
	r.text(path+".by", k.By)
	if at.On != extract.NoDay && at.ReviewBy != extract.NoDay && at.ReviewBy <= at.On {
		r.add(path+".review_by", "", "the review lies before the attestation")
	}
	if !k.NoneKnown && r.source.Has(path+".none_known") {
		r.add(path+".none_known", "do not release while it is so", "the officer knows that what is left can identify a person (45 CFR 164.514(b)(2)(ii))")
	}
	r.policy.Attest = at
}

func (r *reading) people() {
	for _, in := range r.file.Inputs {
		if r.policy.Inputs == nil {
			r.policy.Inputs = map[string]Guard{}
		}
		r.policy.Inputs[in.Key] = Guard{MaxAge: time.Duration(in.Value.MaxAge), ShrinkLimit: float64(in.Value.ShrinkLimit)}
		if in.Value.MaxAge == 0 && r.source.Has(in.Path+".max_age") {
			r.add(in.Path+".max_age", "", "the greatest age must be longer than nothing")
		}
	}
	to, f := &r.policy.People, r.file.People
	to.AmbiguousWithheld, to.Part2 = true, DenyWithout
	if f == nil {
		return
	}
	if f.Relationship != nil {
		const path = "people.relationship"
		to.Roster, to.Covered = f.Relationship.Roster, f.Relationship.Covered
		r.input(path+".roster", to.Roster)
		r.oneOf(path+".covered", f.Relationship.Covered, "at-service")
		r.oneOf(path+".if_ambiguous", f.Relationship.IfAmbiguous, "withhold")
	}
	if f.Consent != nil {
		r.consent(f.Consent.General, f.Consent.Part2)
	}
	if f.ClinicChoice != nil {
		const path = "people.clinic_choice"
		to.RegistryOptOut = r.oneOf(path+".registry_opt_out", f.ClinicChoice.RegistryOptOut, "leave-out")
		to.Part2LeaveOut = r.oneOf(path+".part2_program", f.ClinicChoice.Part2Program, "leave-out")
		r.text(path+".because", f.ClinicChoice.Because)
	}
}

func (r *reading) consent(general *consentFile, part2 *part2File) {
	const path = "people.consent"
	to := &r.policy.People
	if general != nil {
		if r.oneOf(path+".general.without_directive", general.WithoutDirective, "permit", "deny") {
			to.General = ConsentRule(general.WithoutDirective)
		}
		r.oneOf(path+".general.if_unsure", general.IfUnsure, "withhold")
	}
	if part2 == nil {
		return
	}
	to.AcceptForms = part2.AcceptForms
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
	if _, ok := r.policy.Inputs[name]; ok || !r.source.Has(path) {
		return
	}
	var names []string
	for _, in := range r.file.Inputs {
		names = append(names, in.Key)
	}
	hint := "add it there with max_age and shrink_limit"
	if near := strictyaml.Nearest(name, names); near != "" {
		hint = fmt.Sprintf("did you mean %q?", near)
	}
	r.add(path, hint, "%q is not under inputs", name)
}

func (r *reading) output() {
	f := r.file.Output
	if f == nil {
		return
	}
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
	if f == nil {
		return
	}
	r.oneOf("notices.scope_of_consent", f.ScopeOfConsent, "per-row")
	r.policy.Notices = Notices{Part2: f.Part2, ScopeOfConsent: f.ScopeOfConsent}
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
	if strings.Contains(string(text), strictyaml.PlaceholderPrefix) {
		at := r.source.At(path)
		r.policy.unfilled = append(r.policy.unfilled, strictyaml.Mistake{File: r.policy.File, Line: at.Line, Column: at.Column, Path: path,
			Message: "the text in " + f.Part2 + " is still to be filled in", Hint: "the officer supplies the wording of 42 CFR 2.32", Cause: ErrPlaceholder})
	}
}

// Digest is the SHA-256 of the policy's closure, hex: of the lines that
// sha256sum would print for the policy and the texts it names, the policy
// first under the name "policy", the others by name. It is what approvers sign.
func (p *Policy) Digest() string {
	files := append([]include(nil), p.includes...)
	sort.Slice(files, func(i, j int) bool { return files[i].name < files[j].name })
	h := sha256.New()
	fmt.Fprintf(h, "%s  policy\n", p.SHA256)
	for _, f := range files {
		fmt.Fprintf(h, "%s  %s\n", f.sha256, f.name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
