package consent

import (
	"math"
	"time"

	"github.com/posternhealth/postern/extract"
)

// AddConsent takes in one resource of a consent source. Anything but a FHIR R4
// Consent that can be understood whole makes its patient indeterminate: an
// element that R4 does not know (R5 among them), a modifier, a base that cannot
// be told. A resource whose patient cannot be told stops the exchange.
// Resources of other types are passed over.
func (d *Directives) AddConsent(file string, rec *extract.Record) error {
	if rec.Reject != extract.NoReason && rec.Reject != extract.NoSubject {
		return &InputError{file, int(rec.Place.Line), "a record of the consent source cannot be read (" + rec.Reject.String() + "); mend the file"}
	}
	if rec.Dataset != "Consent" {
		return nil
	}
	c := consentReader{root: node{raw: rec.Raw, doc: rec.Doc}}
	patients := rec.Facts.Subjects
	if len(patients) == 0 {
		if id := c.patient(); id != "" {
			patients = append(patients, []byte(id))
		}
	}
	if len(patients) == 0 {
		return &InputError{file, int(rec.Place.Line), "a Consent names no patient by reference; add Consent.patient.reference"}
	}
	n := &draft{
		source:    source{origin: fromFHIR, file: d.file(file), line: uint32(rec.Place.Line)},
		directive: directive{signed: extract.NoDay, ended: extract.NoDay},
	}
	if c.read(n); c.bad || len(patients) > 1 {
		n.provisions = nil
	}
	for _, id := range patients {
		n.subject, n.identity = d.people.Intern(id), consentIdentity(rec, id)
		if err := d.add(n); err != nil {
			return err
		}
	}
	return nil
}

// consentIdentity names a Consent across readings, for one of its patients: two
// servers may number their Consents alike.
func consentIdentity(rec *extract.Record, patient []byte) identity {
	if len(rec.Facts.ID) == 0 {
		return identify("fhir", string(patient), "", string(rec.Raw))
	}
	return identify("fhir", string(patient), string(rec.Facts.ID))
}

// endPermit settles whether a permit that is over was revoked or ran out: it
// ran out when its period was over before its status changed. A revocation
// outlasts the period of what it revokes.
func (n *draft) endPermit() {
	root := &n.provisions[0]
	if n.ended != extract.NoDay && root.to != anytimeTo && int64(n.ended+1)*86400 >= root.to {
		n.status = expired
	}
	root.to = anytimeTo
}

// consentReader reads one Consent. What it does not understand makes it bad.
type consentReader struct {
	root node
	bad  bool
}

// patient looks where R5 and incomplete resources name the patient.
func (c *consentReader) patient() string {
	for _, name := range []string{"patient", "subject"} {
		if kind, id := splitReference(c.root.member(name).member("reference").text()); id != "" && (kind == "Patient" || kind == "") {
			return id
		}
	}
	return ""
}

func (c *consentReader) read(n *draft) {
	c.known(c.root, "Consent")
	if c.bad {
		return
	}
	n.signed = latest(c.root.member("dateTime"))
	n.status = c.status(n)
	n.scope = c.scope()
	n.forms.names = c.forms()
	root := c.root.member("provision")
	base, told := c.base(root)
	if !told {
		c.bad = true
		return
	}
	if root.absent() {
		n.provisions = []provision{unlimited(base)}
		n.provisions[0].next = 1
		n.whos, n.whats = []who{{action: yes}}, []what{{}}
		return
	}
	c.provision(n, root, base)
	if n.status == revoked && base == permit {
		n.endPermit()
	}
}

// known checks a node and all below it against the R4 element table: a member
// that R4 does not know, a value of the wrong shape or an empty one, and a
// modifier that changes the meaning of the rest make the directive unreadable.
// Extensions that modify nothing, narrative and contained resources are passed
// over.
func (c *consentReader) known(n node, typ string) {
	def := extract.TypeOf(typ)
	if def == nil || n.kind() != extract.Object {
		c.bad = true
		return
	}
	for name, v := range n.members {
		switch {
		case name == "resourceType" && def.Resource, name == "extension", name == "text" && def.Resource, name == "contained":
		case name == "modifierExtension" || name == "implicitRules":
			c.bad = true
		case len(name) > 1 && name[0] == '_':
			c.bad = c.bad || n.member(name[1:]).absent()
		default:
			c.value(v, def.Element(name))
		}
	}
}

func (c *consentReader) value(v node, e *extract.Element) {
	if e == nil || v.empty() || e.Many != (v.kind() == extract.Array) {
		c.bad = true
		return
	}
	for item := range v.elements {
		complex := extract.TypeOf(e.Type) != nil
		if complex {
			c.known(item, e.Type)
		}
		c.bad = c.bad || item.empty() || !complex && (item.kind() == extract.Object || item.kind() == extract.Array)
	}
}

func (c *consentReader) status(n *draft) status {
	switch c.root.member("status").text() {
	case "active":
		return active
	case "draft", "proposed":
		return pending
	case "rejected":
		n.ended = latest(c.root.member("dateTime"))
		return refused
	case "inactive":
		// R4 has no date for the end of a directive; that of its last change is
		// the nearest. Without either, a denial stays in force.
		if n.ended = latest(c.root.member("meta").member("lastUpdated")); n.ended == extract.NoDay {
			n.ended = n.signed
		}
		return revoked
	case "entered-in-error":
		return inError
	}
	c.bad = true
	return pending
}

func (c *consentReader) scope() scope {
	found, any := otherMatters, false
	for code := range c.root.member("scope").codes {
		switch code {
		case "patient-privacy":
			found, any = general, true
		case "research":
			if any = true; found != general {
				found = research
			}
		case "treatment", "adr":
			any = true
		}
	}
	c.bad = c.bad || !any
	if found == general && c.namesPart2() {
		return part2
	}
	return found
}

// namesPart2 tells whether the Consent says that it stands under 42 CFR Part 2.
func (c *consentReader) namesPart2() bool {
	for category := range c.root.member("category").elements {
		for code := range category.codes {
			if code == "42CFRPart2" {
				return true
			}
		}
	}
	for code := range c.root.member("policyRule").codes {
		if code == "42CFRPart2" {
			return true
		}
	}
	return false
}

// forms are the names by which the Consent says which form was signed: its
// policies and the address of the signed document.
func (c *consentReader) forms() (names []string) {
	for p := range c.root.member("policy").elements {
		if uri := p.member("uri").text(); uri != "" {
			names = append(names, uri)
		}
	}
	for code := range c.root.member("policyRule").codes {
		if _, isBase := baseRules[code]; !isBase && code != "" {
			names = append(names, code)
		}
	}
	if url := c.root.member("sourceAttachment").member("url").text(); url != "" {
		names = append(names, url)
	}
	return names
}

// baseRules are the codes of v3 ActConsentDirective that say what holds
// without an exception.
var baseRules = map[string]effect{"OPTIN": permit, "OPTINR": permit, "OPTOUT": deny, "OPTOUTE": deny}

// base finds what the directive says where no exception applies. R4 says it in
// policyRule and has no type on the root provision; IHE PCF requires the type.
// When both are there they must agree.
func (c *consentReader) base(root node) (base effect, told bool) {
	for code := range c.root.member("policyRule").codes {
		if e, ok := baseRules[code]; ok {
			if told && e != base {
				return base, false
			}
			base, told = e, true
		}
	}
	if root.absent() || root.member("type").absent() {
		return base, told
	}
	e, ok := provisionType(root)
	return e, ok && (!told || e == base)
}

func provisionType(p node) (effect, bool) {
	switch p.member("type").text() {
	case "permit":
		return permit, true
	case "deny":
		return deny, true
	}
	return deny, false
}

// provision reads a provision and those nested in it, to any depth.
func (c *consentReader) provision(n *draft, from node, e effect) {
	i := len(n.provisions)
	if i >= math.MaxUint16 {
		c.bad = true
		return
	}
	p := unlimited(e)
	readPeriod(&p, from.member("period"))
	readDataPeriod(&p, from.member("dataPeriod"))
	n.provisions = append(n.provisions, p)
	n.whos = append(n.whos, readWho(from))
	n.whats = append(n.whats, readWhat(from))
	for child := range from.member("provision").elements {
		e, ok := provisionType(child)
		c.bad = c.bad || !ok
		c.provision(n, child, e)
	}
	n.provisions[i].next = uint16(len(n.provisions))
}

// readPeriod reads provision.period: when the rule holds. A date without a time
// means the whole day, month or year; both ends are inclusive (R4 Period).
func readPeriod(p *provision, period node) {
	for name, v := range period.members {
		at, instant, ok := moment(v.text(), name == "end")
		switch {
		case name == "start" && ok:
			p.from = at
			p.flags |= flagIf(instant, fromInstant)
		case name == "end" && ok:
			p.to = at
			p.flags |= flagIf(instant, toInstant)
		case name != "id" && name != "extension":
			p.flags |= periodUnclear
		}
	}
}

// readDataPeriod reads provision.dataPeriod: when the data were made.
func readDataPeriod(p *provision, period node) {
	for name, v := range period.members {
		span, ok := extract.ParseSpan([]byte(v.text()))
		timed := len(v.text()) > len(time.DateOnly)
		switch {
		case name == "start" && ok:
			p.dataFrom = span.From
			p.flags |= flagIf(timed, dataFromTimed)
		case name == "end" && ok:
			p.dataTo = span.To
			p.flags |= flagIf(timed, dataToTimed)
		case name != "id" && name != "extension":
			p.flags |= dataUnclear
		}
	}
}

func flagIf(set bool, f flags) flags {
	if set {
		return f
	}
	return 0
}

// moment reads a FHIR dateTime as seconds: of Unix time when it has a time of
// day, else of civil time. An end is exclusive.
func moment(s string, end bool) (at int64, instant, ok bool) {
	if len(s) > len(time.DateOnly) {
		t, err := time.Parse(time.RFC3339, s)
		if end {
			t = t.Add(time.Second)
		}
		return t.Unix(), true, err == nil
	}
	span, ok := extract.ParseSpan([]byte(s))
	if end {
		return (int64(span.To) + 1) * 86400, false, ok
	}
	return int64(span.From) * 86400, false, ok
}

// latest is the last day that a date may mean, NoDay when there is none.
func latest(date node) extract.Day {
	span, _ := extract.ParseSpan([]byte(date.text()))
	return span.To
}
