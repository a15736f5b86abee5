package consent

import (
	"strings"

	"github.com/posternhealth/postern/extract"
)

// Values of criteria carry their kind in the first byte, so that one that
// cannot be compared is never mistaken for one that differs.
const (
	byName      = '=' // recipient by the name or number that the clinic uses: another one differs
	byReference = '@' // by a reference or identifier that we cannot follow: another one may still be the same
	byKind      = '~' // a kind of recipients
	unclear     = "?" // cannot be evaluated
)

// readWho reads the criteria of a provision that do not depend on a record.
func readWho(p node) who {
	w := who{action: action(p)}
	for actor := range p.member("actor").elements {
		value := unclear
		ref := actor.member("reference")
		if r := ref.member("reference").text(); r != "" {
			value = string(byReference) + r
		} else if v := ref.member("identifier").member("value").text(); v != "" {
			value = string(byReference) + ref.member("identifier").member("system").text() + "|" + v
		}
		switch role(actor) {
		case recipientRole:
			w.recipients = append(w.recipients, value)
		case custodianRole:
			w.custodians = append(w.custodians, value)
		default:
			w.recipients = append(w.recipients, unclear)
		}
	}
	for purpose := range p.member("purpose").elements {
		w.purposes = append(w.purposes, orUnclear(purpose.member("code").text()))
	}
	return w
}

type actorRole uint8

const (
	unknownRole actorRole = iota
	recipientRole
	custodianRole
)

// role says what an actor has to do with a disclosure: receives it, makes it,
// or something that this version does not understand.
func role(actor node) actorRole {
	found := unknownRole
	for code := range actor.member("role").codes {
		switch code {
		case "IRCP", "PRCP", "GRANTEE":
			return recipientRole
		case "CST":
			found = custodianRole
		}
	}
	return found
}

// action tells whether a provision is about disclosing. A rule about access or
// use may or may not be meant for it; collecting and correcting are not.
func action(p node) match {
	list := p.member("action")
	if list.absent() {
		return yes
	}
	found := no
	for concept := range list.elements {
		coded := false
		for code := range concept.codes {
			coded = true
			switch code {
			case "disclose":
				found = yes
			case "collect", "correct":
			default:
				found = max(found, unsure)
			}
		}
		if !coded {
			found = max(found, unsure)
		}
	}
	return found
}

// readWhat reads the criteria of a provision that each record settles.
func readWhat(p node) (w what) {
	for label := range p.member("securityLabel").elements {
		w.labels = append(w.labels, orUnclear(label.member("code").text()))
	}
	for class := range p.member("class").elements {
		code := class.member("code").text()
		if extract.TypeOf(code) == nil {
			code = unclear + code
		}
		w.classes = append(w.classes, code)
	}
	for concept := range p.member("code").elements {
		coded := false
		for code := range concept.codes {
			w.codes, coded = append(w.codes, code), true
		}
		if !coded {
			w.codes = append(w.codes, unclear)
		}
	}
	for data := range p.member("data").elements {
		w.data = append(w.data, dataValue(data))
	}
	return w
}

// dataValue is i:Type/id for the very resource, r:Type/id for what belongs to it.
func dataValue(data node) string {
	kind, id := splitReference(data.member("reference").member("reference").text())
	if kind == "" || id == "" {
		return unclear
	}
	if data.member("meaning").text() == "instance" {
		return "i:" + kind + "/" + id
	}
	return "r:" + kind + "/" + id
}

func orUnclear(code string) string {
	if code == "" {
		return unclear
	}
	return code
}

// splitReference takes type and id from a literal reference: relative,
// absolute, or of a version; urn:uuid has an id only. Others give neither.
func splitReference(ref string) (kind, id string) {
	if uuid, ok := strings.CutPrefix(ref, "urn:uuid:"); ok {
		return "", uuid
	}
	ref, _, _ = strings.Cut(ref, "/_history/")
	if strings.ContainsAny(ref, "?#") {
		return "", ""
	}
	rest, id, ok := cutLast(ref, "/")
	if !ok {
		return "", ""
	}
	if _, last, ok := cutLast(rest, "/"); ok {
		rest = last
	}
	return rest, id
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return "", s, false
}
