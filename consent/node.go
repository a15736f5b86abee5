package consent

import (
	"encoding/json"

	"github.com/posternhealth/postern/extract"
)

// node is one value of a JSON document on the token tape. The zero node is
// absent: it has no members, elements or text, and so have theirs.
type node struct {
	raw []byte
	doc extract.Doc
	at  int32
}

func (n node) absent() bool { return int(n.at) >= len(n.doc) }

// kind is the kind of a value; that of an absent one is Null.
func (n node) kind() extract.Kind {
	if n.absent() {
		return extract.Null
	}
	return n.doc[n.at].Kind
}

// members goes over the members of an object.
func (n node) members(yield func(name string, value node) bool) {
	if n.absent() || n.doc[n.at].Kind != extract.Object {
		return
	}
	for i := n.at + 1; i < n.doc[n.at].Next; i = n.doc[i].Next {
		if !yield(string(n.raw[n.doc[i].Start:n.doc[i].End]), node{n.raw, n.doc, i + 1}) {
			return
		}
	}
}

func (n node) member(name string) node {
	if n.absent() || n.doc[n.at].Kind != extract.Object {
		return node{}
	}
	for i := n.at + 1; i < n.doc[n.at].Next; i = n.doc[i].Next {
		if string(n.raw[n.doc[i].Start:n.doc[i].End]) == name {
			return node{n.raw, n.doc, i + 1}
		}
	}
	return node{}
}

// elements goes over the elements of an array; what is no array has itself as
// the only one, so that a misplaced value is never passed over.
func (n node) elements(yield func(node) bool) {
	if n.absent() {
		return
	}
	if n.doc[n.at].Kind != extract.Array {
		yield(n)
		return
	}
	for i := n.at + 1; i < n.doc[n.at].Next; i = n.doc[i].Next {
		if !yield(node{n.raw, n.doc, i}) {
			return
		}
	}
}

// codes goes over the codes of a CodeableConcept.
func (n node) codes(yield func(string) bool) {
	for coding := range n.member("coding").elements {
		if !yield(coding.member("code").text()) {
			return
		}
	}
}

// empty tells whether the value is null, {}, [] or "", which FHIR does not allow.
func (n node) empty() bool {
	t := n.doc[n.at]
	switch t.Kind {
	case extract.Object, extract.Array:
		return t.Next == n.at+1
	case extract.String:
		return t.Start == t.End
	}
	return t.Kind == extract.Null
}

// text is the value of a string, "" of anything else.
func (n node) text() string {
	if n.absent() || n.doc[n.at].Kind != extract.String {
		return ""
	}
	t := n.doc[n.at]
	if !t.Escaped {
		return string(n.raw[t.Start:t.End])
	}
	var s string
	quoted := append(append([]byte{'"'}, n.raw[t.Start:t.End]...), '"')
	if json.Unmarshal(quoted, &s) != nil {
		return ""
	}
	return s
}
