package policies

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// SealedDropDefault is how long the archive ciphertext stays when a policy
// says nothing: six years (45 CFR 164.316(b)(2)(i)).
const SealedDropDefault = 6 * 366 * 24 * time.Hour

// Load reads a policy file and the texts it names. A file that cannot be read
// gives the error of the operating system; all other errors are a
// *strictyaml.Errors. When the file is wrong in itself, it holds every mistake
// there is: those that the environment shows in what could be read too. When the
// file is right in itself, those are left for Check, and so are values that are
// still to be filled in.
func Load(path string, env Env) (*Policy, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading the policy: %w", err)
	}
	folder := filepath.Dir(path)
	return parse(path, data, env, func(name string) ([]byte, error) {
		return os.ReadFile(filepath.Join(folder, filepath.FromSlash(name)))
	})
}

// mistakes are those of one policy.
type mistakes struct {
	source *strictyaml.Source // nil when the policy was not made by Load
	errs   *strictyaml.Errors
	broken map[string]bool // key paths whose value could not be read
}

// add notes a mistake at a key path, unless one is said of it already.
func (m *mistakes) add(path, hint, format string, args ...any) {
	if !m.said(path) {
		at := m.source.At(path)
		m.note(strictyaml.Mistake{File: m.errs.File, Line: at.Line, Column: at.Column, Path: path, Message: fmt.Sprintf(format, args...), Hint: hint})
	}
}

// said tells whether what stands at a key path could not be read, or is still to
// be filled in.
func (m *mistakes) said(path string) bool {
	return m.broken[path] || m.source.IsPlaceholder(path)
}

// note notes a mistake, unless what stands there could not be read.
func (m *mistakes) note(mistake strictyaml.Mistake) {
	if !m.broken[mistake.Path] {
		m.errs.Note(mistake)
	}
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
	if strings.TrimSpace(value) == "" {
		m.must(false, path, "", "the text is empty")
		m.broken[path] = m.source.Has(path)
	}
}

// reading is one policy on its way from the file to a Policy.
type reading struct {
	mistakes
	file   file
	policy *Policy
	open   func(name string) ([]byte, error)
}

func parse(path string, data []byte, env Env, open func(string) ([]byte, error)) (*Policy, error) {
	sum := sha256.Sum256(data)
	var f file
	source, _ := strictyaml.Decode(path, data, &f, strictyaml.Drafts)
	r := newReading(source, &Policy{File: path, SHA256: hex.EncodeToString(sum[:]), source: source})
	r.file, r.open = f, open
	if r.source.Has("") {
		r.head()
		r.includes()
		r.people()
		r.cohort()
		r.release()
		r.tables()
		r.protect()
		r.output()
		r.standard()
		r.layout()
	}
	if len(r.errs.List) == 0 {
		return r.policy, nil
	}
	if r.source.Has("") {
		r.against(env)
	}
	return nil, r.errs.Err()
}

// against adds what an environment shows in a policy that is wrong in itself,
// but for the places of which something is said already.
func (r *reading) against(env Env) {
	for _, m := range r.errs.List {
		r.broken[m.Path] = true
	}
	c := &checking{Policy: r.policy, env: env, mistakes: r.mistakes}
	c.everything()
}

// newReading begins to check a file by what the decoder made of it.
func newReading(source *strictyaml.Source, p *Policy) *reading {
	r := &reading{mistakes: mistakes{source, source.Errors(), map[string]bool{}}, policy: p}
	for _, m := range r.errs.List {
		r.broken[m.Path] = true
		if list, _, item := strings.Cut(m.Path, "["); item {
			r.broken[list] = true // what it lacks, nobody knows
		}
	}
	return r
}

func (r *reading) head() {
	p, f := r.policy, &r.file
	p.Name, p.Version, p.Recipient = f.Policy, f.Version, f.Recipient
	p.Purpose, p.Basis, p.Because, p.Ground = f.Purpose, f.Basis, f.Because, f.AggregateGround
	if !r.source.IsPlaceholder("standard") {
		p.Standard = f.Standard
	}
	r.must(plainName(f.Policy), "policy", "write it like acme-phq9-gad7", "%q is no name: small letters, digits and hyphens, at most 64", f.Policy)
	r.must(f.Version >= 1, "version", "the first version is 1", "versions count from 1")
	r.must(KnownPurpose(f.Purpose), "purpose", purposeHint(f.Purpose), "%q is no HL7 v3 PurposeOfUse code", f.Purpose)
	r.text("because", f.Because)
	r.text("recipient", f.Recipient)
	r.agreement(&f.Agreement)
	r.attest()
	r.certificate()
	p.Tolerate.Rejected = float64(f.Tolerate.Rejected)
	p.Keep.SealedDrop = cmp.Or(time.Duration(f.Keep.SealedDrop), SealedDropDefault)
}

func plainName(name string) bool {
	return name != "" && len(name) <= 64 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-") == "" &&
		name[0] != '-' && name[len(name)-1] != '-'
}

func (r *reading) agreement(a *agreementFile) {
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
		r.add(path, "write a date", "only the end of an agreement or of a value set can be open")
		r.broken[path] = true
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

func (r *reading) certificate() {
	const path = "certificate"
	if !r.source.Has(path) {
		return
	}
	f := &r.file.Certificate
	c := &Certificate{Expert: f.Expert, On: r.date(path+".on", f.On), Method: f.Method, Conditions: f.Conditions,
		Expires: r.date(path+".expires", f.Expires), FineDates: f.FineDates}
	r.text(path+".expert", f.Expert)
	r.text(path+".method", f.Method)
	for i, condition := range f.Conditions {
		r.text(fmt.Sprintf("%s.conditions[%d]", path, i), condition)
	}
	r.must(c.Expires > c.On || c.Expires == extract.NoDay, path+".expires", "", "the certificate ends before it begins")
	r.policy.Certificate = c
}

func (r *reading) people() {
	p, f := r.policy, &r.file.People
	p.Inputs = map[string]Guard{}
	for _, in := range r.file.Inputs {
		p.Inputs[in.Key] = Guard{MaxAge: time.Duration(in.Value.MaxAge), ShrinkLimit: float64(in.Value.ShrinkLimit)}
		r.must(in.Value.MaxAge != 0, in.Path+".max_age", "", "the greatest age must be longer than nothing")
	}
	related, consent, choice := &f.Relationship, &f.Consent, &f.ClinicChoice
	r.input("people.relationship.roster", related.Roster)
	p.People = People{
		Roster: related.Roster, Covered: related.Covered, IfAmbiguous: related.IfAmbiguous,
		General: consent.General.WithoutDirective, Part2: DenyWithout, AcceptForms: consent.Part2.AcceptForms, Minors: consent.Minors.Rules,
		MostRecent:     consent.General.Conflict == "most-recent",
		RegistryOptOut: choice.RegistryOptOut == "leave-out", Part2LeaveOut: choice.Part2Program == "leave-out", ChoiceBecause: choice.Because,
	}
	if p.People.IfAmbiguous == "" && p.People.Roster != "" {
		p.People.IfAmbiguous = "withhold"
	}
	r.text("people.clinic_choice.because", choice.Because)
	r.minors()
	r.grounds()
	for i, form := range consent.Part2.AcceptForms {
		r.text(fmt.Sprintf("people.consent.part2.accept_forms[%d]", i), form)
	}
}

// states are the two letters of the United States' states, districts and territories.
const states = " al ak az ar ca co ct de fl ga hi id il in ia ks ky la me md ma mi mn ms mo mt ne nv nh nj nm ny nc nd oh ok or pa ri sc sd tn tx ut vt va wa wv wi wy dc pr gu vi as mp "

func (r *reading) jurisdiction(path, text string) bool {
	state, ok := strings.CutPrefix(text, "us-")
	ok = ok && len(state) == 2 && strings.Contains(states, " "+state+" ")
	r.must(ok, path, "write it like us-ca", "%q is no state whose rules are known by that name", text)
	return ok
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
	for key, name := range map[string]string{"layout": f.Layout, "also": f.Also} {
		near := strictyaml.Nearest(name, plainLayouts)
		r.must(plainName(name) && (near == "" || near == name), "output."+key, "write csv, ndjson, or the name of a layout", "%q is no layout", name)
	}
	r.must(f.Also != f.Layout, "output.also", "remove it", "the values are laid out like that already")
	r.policy.Output = *f
	r.totals()
	r.notices()
}

// plainLayouts are those that need no file of their own.
var plainLayouts = []string{"csv", "ndjson"}

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
	return slices.ContainsFunc(p.Release, func(rel Release) bool { return rel.Field(name) != nil })
}

func (r *reading) notices() {
	f := r.file.Notices
	r.policy.Notices = f
	const path = "notices.part2"
	if f.Part2 == "" || r.source.IsPlaceholder(path) {
		r.text(path, f.Part2)
		return
	}
	if text, ok := r.read(path, f.Part2); ok {
		r.legal(path, f.Part2, text)
	}
}

// Digest is the SHA-256 of the policy's closure, hex: of the lines that
// sha256sum would print for the policy and the texts it names, the policy
// first under the name "policy", the others by name. It is what approvers sign.
func (p *Policy) Digest() string {
	h := sha256.New()
	fmt.Fprintf(h, "%s  policy\n", p.SHA256)
	for _, f := range p.Includes() {
		fmt.Fprintf(h, "%s  %s\n", f.SHA256, f.Name)
	}
	return hex.EncodeToString(h.Sum(nil))
}
