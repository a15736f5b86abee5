package deid

import (
	"bytes"
	"slices"
	"sort"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

// sibling is the value that stands under a name beside the value t, in the object
// that t is a member of; nil when there is none.
func (e *Engine) sibling(t *extract.Token, name string) *extract.Token {
	at := sort.Search(len(e.doc), func(i int) bool { return e.doc[i].Start >= t.Start })
	for holder := at - 1; holder >= 0; holder-- {
		if e.doc[holder].Kind != extract.Object || int(e.doc[holder].Next) <= at {
			continue
		}
		for i := int32(holder) + 1; i < e.doc[holder].Next; i = e.doc[i].Next {
			if string(e.raw[e.doc[i].Start:e.doc[i].End]) == name {
				return &e.doc[i+1]
			}
		}
		return nil
	}
	return nil
}

// bounded tells of the value of a Quantity with a comparator: of "less than 10"
// nobody knows which number it is (FHIR R4 §2.24.0.9), so alone, rounded or
// grouped it would say what the record does not.
func (e *Engine) bounded(t *extract.Token) bool { return e.sibling(t, "comparator") != nil }

// abroad tells whether the address that holds t names a country that is not the
// United States: its postal code is no ZIP code, and its state none of theirs.
func (e *Engine) abroad(t *extract.Token) bool {
	country := e.sibling(t, "country")
	if country == nil || country.Kind != extract.String {
		return false
	}
	text := e.text(country)
	for _, name := range []string{"", "US", "USA", "U.S.", "U.S.A.", "United States", "United States of America"} {
		if bytes.EqualFold(text, []byte(name)) {
			return false
		}
	}
	return true
}

// exact has the value of a Quantity leave only without a comparator, unless the
// comparator leaves beside it.
func (n *node) exact(inside *extract.TypeDef) {
	if inside == nil || inside.Element("comparator") == nil {
		return
	}
	if value := n.child("value", drop); value.action == keep && n.child("comparator", drop).action != keep {
		value.action = keepExact
	}
}

// publish has no coding leave of what is to identify nobody, of which the code or
// the system is kept, but one of a published system, or without one where `only`
// lists its code: beside the codes that a policy asks for stand the clinic's own,
// which may hold anything.
func (pl *Plan) publish(n *node, path string) {
	kept := func(name string, class extract.Class) bool {
		c := n.child(name, drop)
		return c.action == keep && c.class == class
	}
	bare := func([]byte) bool { return true }
	n.system = isPublishedSystem
	switch identified, system := pl.rules.standard == policies.Identified, kept("system", extract.CodeSystem); {
	case identified && system:
		n.system, n.bare = isSystem, bare
	case identified:
	case kept("code", extract.Code):
		path = strings.TrimPrefix(path, pl.dataset+".")
		asked := slices.DeleteFunc(slices.Clone(pl.scope), func(c condition) bool {
			asks := strings.Join(c.path, ".")
			return asks != path && asks+".coding" != path && asks != path+".code"
		})
		n.bare = func(code []byte) bool {
			return slices.ContainsFunc(asked, func(c condition) bool { return c.codes.Contains(string(code)) })
		}
	case system:
		n.bare = bare
	}
}

// choose has only those components of an Observation leave whose codes `only` lists,
// where data are de-identified: another may hold an age or a place.
func (pl *Plan) choose(n *node, path string) {
	for i := range pl.scope {
		if c := &pl.scope[i]; pl.rules.firstYear != 0 && path == pl.dataset+".component" && len(c.path) > 1 && c.path[0] == "component" && c.path[1] == "code" {
			n.only = c
		}
	}
}

// bySystem keys the words of codes by code system, too; "" stands for any.
func bySystem(words map[string][]byte, system string) map[string][]byte {
	keyed := map[string][]byte{}
	for code, w := range words {
		keyed[system+"|"+code] = w
	}
	return keyed
}

// display appends the policy's own words for the code that stands beside a
// display, in the place of those that the record has.
func (e *Engine) display(b []byte, c *node, t *extract.Token) []byte {
	code, system := e.sibling(t, "code"), e.sibling(t, "system")
	if code == nil || code.Kind != extract.String {
		return b
	}
	from := len(b)
	if system != nil && system.Kind == extract.String {
		b = append(b, e.text(system)...)
	}
	bar := len(b)
	b = append(append(b, '|'), e.text(code)...)
	words, known := c.codes[string(b[from:])]
	if !known {
		words = c.codes[string(b[bar:])]
	}
	return append(b[:from], words...)
}
