package consent

import (
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// The columns of a consent registry.
var (
	registryRequired = []string{"patient", "scope", "decision", "status"}
	registryOptional = []string{"recipient", "purpose", "categories", "from", "to", "signed_on", "signed_by", "form", "source_document", "ended_on", "ended_by"}
)

// LoadRegistry takes in the rows of a consent registry. One that tells its
// patient and cannot be understood otherwise leaves that patient in doubt; any
// other defect is an *InputError. A row is a directive with one provision:
//
//	patient          the clinic's id
//	scope            general, part2, research, registry-opt-out, state or state-…, treatment
//	decision         permit or deny
//	status           active, revoked, expired, entered-in-error
//	recipient        names, numbers or kind:KIND, parted by semicolons; empty or * is anyone
//	purpose          PurposeOfUse codes, or TPO; empty is any
//	categories       sensitivity labels, or class:TYPE, or code:CODE, of one sort in a row; empty is everything
//	from, to         days on which it holds, both inclusive
//	signed_on        without it, no ground for Part 2
//	signed_by        patient, guardian; empty is not told
//	form             version of the form that was signed
//	ended_on, _by    explicit end of a denial
func (d *Directives) LoadRegistry(path string) (Input, error) {
	number := d.files.number(path)
	return d.mending.load(path, func(c *cells) {
		n, by := registryRow(c)
		if by == nil {
			return
		}
		n.file, n.line, n.subject = number, uint32(c.Line()), d.people.Intern([]byte(by[0].value))
		if !c.sound() {
			n.identity = identifyInDoubt(registryList, by, c.why)
			n.provisions, n.forms.names, c.why = nil, c.why, nil
		}
		c.err = d.add(n)
	})
}

const registryList = "registry"

// registryNamedBy are the columns beside the patient that say which row a row
// of a registry is; the others say how it stands.
var registryNamedBy = []string{"scope", "decision", "recipient", "purpose", "categories", "from", "source_document"}

// registryRow reads a row, and what names it, with the patient first. It gives
// nothing when the patient cannot be told.
func registryRow(c *cells) (*draft, []nameCell) {
	patient := c.patient("patient")
	if !c.sound() {
		return nil, nil
	}
	by, parts := []nameCell{{"patient", patient}}, []string{registryList, patient}
	for _, column := range registryNamedBy {
		by, parts = append(by, nameCell{column, c.text(column)}), append(parts, c.text(column))
	}
	n := &draft{source: source{origin: fromRegistry, identity: identify(parts...)}}
	p := unlimited(min(deny, effect(c.oneOf("decision", "permit", "deny"))))
	n.scope = registryScope(c)
	if n.scope == registryOptOut && p.effect == permit {
		c.fail("scope registry-opt-out with decision permit says nothing; write decision deny, or leave the row out")
		c.fail("decision permit with scope registry-opt-out says nothing")
	}
	n.signer = registrySigner(c)
	span := c.span()
	last := span.To
	if n.scope == treatment {
		n.identity = identify("registry", string(n.identity[:]), c.text("signed_by"))
		p.dataFrom, p.dataTo, span = span.From, span.To, extract.Span{From: extract.NoDay, To: anyDayTo} // days of care
	}
	if span.From != extract.NoDay {
		p.from = int64(span.From) * 86400
	}
	if span.To != anyDayTo {
		p.to = (int64(span.To) + 1) * 86400
	}
	n.signed, n.ended = c.date("signed_on", extract.NoDay), c.end()
	p.next = 1
	n.provisions = []provision{p}
	n.whos = []who{{recipients: registryRecipients(c), purposes: registryPurposes(c), action: yes}}
	n.whats = []what{registryCategories(c)}
	if form := c.text("form"); form != "" {
		n.forms.names = []string{form}
	}
	n.registryStatus(c, last)
	return n, by
}

// registryStatus reads the status. A denial that is over must say since when,
// and one that was entered in error who found so: a status alone opens nothing.
func (n *draft) registryStatus(c *cells, to extract.Day) {
	root := &n.provisions[0]
	switch c.text("status") {
	case "active":
		return
	case "entered-in-error":
		if n.status = revoked; root.effect == permit {
			n.status = inError
			return
		}
		if n.ended == extract.NoDay {
			c.fail("status entered-in-error of a denial needs ended_on and ended_by")
		}
		return
	case "revoked":
		n.status = revoked
	case "expired":
		n.status = expired
	default:
		c.fail("status is none of active, revoked, expired, entered-in-error")
	}
	switch {
	case root.effect == permit:
		root.to = anytimeTo
	case n.ended == extract.NoDay && to == anyDayTo:
		c.fail("status of a denial that is over needs its end: to, or ended_on and ended_by")
	case n.ended == extract.NoDay:
		n.ended = to + 1
	}
}

func registryScope(c *cells) scope {
	word := c.text("scope")
	if strings.HasPrefix(word, "state-") {
		return stateLaw
	}
	if at := slices.Index(scopeNames[:], word); at >= 0 && scope(at) != otherMatters {
		return scope(at)
	}
	c.fail("scope is none of general, part2, research, registry-opt-out, state, state-…, treatment")
	return general
}

func registrySigner(c *cells) (by signer) {
	for _, v := range c.values("signed_by") {
		switch v {
		case "patient":
			by |= byPatient
		case "guardian":
			by |= byGuardian
		default:
			c.fail("signed_by is none of patient, guardian")
		}
	}
	return by
}

func registryRecipients(c *cells) (list []string) {
	for _, v := range c.values("recipient") {
		kind, isKind := strings.CutPrefix(v, "kind:")
		switch {
		case v == "*":
			return nil
		case !isKind:
			list = append(list, string(byName)+v)
		case !policies.KnownRecipientKind(kind):
			c.fail("recipient names an unknown kind")
		default:
			list = append(list, string(byKind)+kind)
		}
	}
	return list
}

func registryPurposes(c *cells) (list []string) {
	for _, v := range c.values("purpose") {
		if v == "TPO" {
			list = append(list, "TREAT", "HPAYMT", "HOPERAT")
			continue
		}
		if !policies.KnownPurpose(v) {
			c.fail("purpose is no PurposeOfUse code, such as TREAT, HPAYMT, HOPERAT, HRESCH")
		}
		list = append(list, v)
	}
	return list
}

func registryCategories(c *cells) (w what) {
	for _, v := range c.values("categories") {
		if class, ok := strings.CutPrefix(v, "class:"); ok {
			if extract.TypeOf(class) == nil {
				c.fail("categories names an unknown resource type")
			}
			w.classes = append(w.classes, class)
		} else if code, ok := strings.CutPrefix(v, "code:"); ok {
			w.codes = append(w.codes, bareCode(code))
		} else {
			if !isSensitivity(v) && confidentialityRank(v) == 0 {
				c.fail("categories holds neither a sensitivity label, such as PSY, SUD, HIV, nor class:TYPE or code:CODE")
			}
			w.labels = append(w.labels, v)
		}
	}
	if sorts := min(len(w.labels), 1) + min(len(w.classes), 1) + min(len(w.codes), 1); sorts > 1 {
		c.fail("categories mixes labels, classes and codes; write a row for each sort")
	}
	return w
}
