package consent

import (
	"math"
	"slices"
	"time"

	"github.com/posternhealth/postern/extract"
)

// AddConsent takes in one resource of a consent source: a Consent of FHIR R4 or
// R4B, in their own dialect or that of IHE PCF, or of R5. Anything that cannot
// be understood whole makes its patient indeterminate: an element that the
// version does not know, a modifier, a base that cannot be told, a verification
// that failed. A resource whose patient cannot be told stops the exchange.
// Resources of other types are passed over.
func (d *Directives) AddConsent(file string, rec *extract.Record) error {
	if rec.Reject != extract.NoReason && rec.Reject != extract.NoSubject {
		return &InputError{file, int(rec.Place.Line), "a record of the consent source cannot be read (" + rec.Reject.String() + "); mend the file"}
	}
	if rec.Dataset != "Consent" {
		return nil
	}
	c := consentReader{root: node{raw: rec.Raw, doc: rec.Doc}, servers: d.servers}
	patient := c.patient(rec)
	if patient == "" {
		return &InputError{file, int(rec.Place.Line), "a Consent does not tell its patient; write the id of one Patient as Consent.patient.reference, in R5 as Consent.subject.reference"}
	}
	n := &draft{
		source:    source{origin: fromFHIR, file: d.files.number(file), line: uint32(rec.Place.Line), subject: d.people.Intern([]byte(patient)), identity: consentIdentity(rec, patient)},
		directive: directive{signed: extract.NoDay, ended: extract.NoDay},
	}
	if c.read(n); c.bad {
		n.provisions = nil
	}
	n.signer = c.signer(d.people, rec, n.subject)
	return d.add(n)
}

// consentIdentity names a Consent across readings by its patient and its id: two
// servers may number their Consents alike.
func consentIdentity(rec *extract.Record, patient string) identity {
	if len(rec.Facts.ID) == 0 {
		return identify("fhir", patient, "", string(rec.Raw))
	}
	return identify("fhir", patient, string(rec.Facts.ID))
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
	root    node
	servers extract.Servers
	r5      bool
	bad     bool
}

// OwnServers tells the addresses of the clinic's own server, by those of its
// names that are addresses: that of Organization/x there. A Consent whose patient
// is told by an address elsewhere may be of somebody else who has the same id.
func (d *Directives) OwnServers(names []string) { d.servers = extract.ServersOf(names) }

// patient is the id of the one patient whom the Consent is of: R4 calls the
// element patient, R5 subject. A reference that a Bundle does not settle, or
// one by identifier alone, tells nobody with certainty. Whom else a Consent
// refers to (a performer, an actor) it is not of.
func (c *consentReader) patient(rec *extract.Record) (found string) {
	for _, name := range []string{"patient", "subject"} {
		ref := c.root.member(name).member("reference").text()
		if ref == "" {
			continue
		}
		ref = string(rec.Resolve([]byte(ref)))
		if server := extract.ServerOf(ref); server != "" && !slices.Contains(c.servers, server) {
			c.bad = true
		}
		kind, id := splitReference(ref)
		if kind != "Patient" || !isPlainID([]byte(id)) || found != "" && id != found {
			return ""
		}
		found = id
	}
	return found
}

func (c *consentReader) read(n *draft) {
	c.r5 = slices.ContainsFunc(r5Only, func(name string) bool { return !c.root.member(name).absent() })
	c.known(c.root, "Consent")
	for v := range c.root.member("verification").elements {
		c.bad = c.bad || v.member("verified").kind() != extract.True // 42 CFR 2.31: known to be false, it grounds nothing
	}
	if c.bad {
		return
	}
	n.signed = max(latest(c.root.member("dateTime")), latest(c.root.member("date")))
	n.status = c.status(n)
	n.scope = c.scope()
	n.forms.names = c.forms()
	base, told := c.base()
	if !told {
		c.bad = true
		return
	}
	c.rule(n, base)
	switch {
	case n.status == revoked && base == permit:
		n.endPermit()
	case base == deny && (n.status == revoked || n.status == inError):
		// A denial ends with a date and an author. FHIR has a place for neither:
		// it goes on, as long as its own period does.
		n.status, n.ended = active, extract.NoDay
	}
}

// rule reads what the Consent says, from its base down.
func (c *consentReader) rule(n *draft, base effect) {
	root := c.root.member("provision")
	switch {
	case c.r5:
		c.r5Rule(n, base)
	case root.absent():
		n.provisions = []provision{unlimited(base)}
		n.provisions[0].next = 1
		n.whos, n.whats = []who{{action: yes}}, []what{{}}
	default:
		c.provision(n, root, base)
	}
}

// known checks a node and all below it against the element table: a member
// that the version does not know, a value of the wrong shape or an empty one, and a
// modifier that changes the meaning of the rest make the directive unreadable.
// Extensions that modify nothing, narrative and contained resources are passed
// over.
func (c *consentReader) known(n node, typ string) {
	def := c.typeOf(typ)
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
		if c.bad {
			return
		}
	}
}

func (c *consentReader) value(v node, e *extract.Element) {
	if e == nil || v.empty() || e.Many != (v.kind() == extract.Array) {
		c.bad = true
		return
	}
	for item := range v.elements {
		complex := c.typeOf(e.Type) != nil
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
	case "draft", "proposed", "not-done":
		return pending
	case "rejected":
		n.ended = latest(c.root.member("dateTime"))
		return refused
	case "inactive":
		// FHIR has no date for the end of a directive; that of its last change is
		// the nearest.
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

// scope tells what the Consent is about: R4 says it in scope, R5 by its
// categories. One that is about disclosure is general whatever else it is about.
// Where no word is known, a permit might be one to be treated: it is not
// understood.
func (c *consentReader) scope() scope {
	about, words := c.root.member("scope"), r4Scopes
	if c.r5 {
		about, words = c.root.member("category"), r5Scopes
	}
	found, any := otherMatters, false
	for concept := range about.elements {
		for code := range concept.codes {
			means, known := words[code]
			if any = any || known; known && (means == general || means == research && found != general) {
				found = means
			}
		}
	}
	c.bad = c.bad || !any
	if found == general && c.namesPart2() {
		return part2
	}
	return found
}

// r4Scopes are the codes of HL7 consentscope.
var r4Scopes = map[string]scope{"patient-privacy": general, "research": research, "treatment": otherMatters, "adr": otherMatters}

// namesPart2 tells whether the Consent says that it stands under 42 CFR Part 2.
func (c *consentReader) namesPart2() bool {
	for _, name := range []string{"category", "policyRule", "regulatoryBasis"} {
		for concept := range c.root.member(name).elements {
			for code := range concept.codes {
				if code == "42CFRPart2" {
					return true
				}
			}
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
	for _, at := range []string{"sourceAttachment", "policyBasis"} {
		for source := range c.root.member(at).elements {
			if url := source.member("url").text(); url != "" {
				names = append(names, url)
			}
		}
	}
	return names
}

// baseRules are the codes of v3 ActConsentDirective that say what holds
// without an exception.
var baseRules = map[string]effect{"OPTIN": permit, "OPTINR": permit, "OPTOUT": deny, "OPTOUTE": deny}

// base finds what the directive says where no exception applies. R4 says it in
// policyRule and has no type on the root provision; IHE PCF requires the type.
// When both are there they must agree. R5 says it in decision.
func (c *consentReader) base() (base effect, told bool) {
	if c.r5 {
		return effectOf(c.root.member("decision"))
	}
	root := c.root.member("provision")
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
	e, ok := effectOf(root.member("type"))
	return e, ok && (!told || e == base)
}

func effectOf(word node) (effect, bool) {
	switch word.text() {
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
		inner := 1 - e // R5: an exception is the opposite of what it is an exception to
		if !c.r5 {
			var ok bool
			inner, ok = effectOf(child.member("type"))
			c.bad = c.bad || !ok
		}
		c.provision(n, child, inner)
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
