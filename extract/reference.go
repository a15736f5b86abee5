package extract

import (
	"bytes"
	"slices"
	"strings"

	"github.com/posternhealth/postern/internal/phi"
)

type target struct {
	kind string    // resource type; "" when it cannot be told
	id   phi.Bytes // nil when the reference does not name its target by id
	name phi.Bytes // Type/id; when there is no such, the reference as written
}

// fullURLs tells for the fullUrl of each entry of a Bundle which resource it
// names, as Type/id, where the URL itself does not say it (FHIR R4 Bundle
// §2.36.4.1). A fullUrl that stands for two resources maps to nothing.
type fullURLs map[string][]byte

// resolve tells what a reference points to, whichever way it is written:
// relative or absolute, with or without a version, into the Bundle, to a
// contained resource, or conditional.
func (f *finder) resolve(ref []byte) target {
	if f.servers.foreign(ref) {
		return target{name: ref}
	}
	if f.urls != nil {
		if name, ok := f.urls[string(ref)]; ok && name != nil {
			ref = name
		} else if ok {
			return target{name: ref}
		}
	}
	if slash := bytes.IndexByte(ref, '/'); slash > 0 && slash+1 < len(ref) && bytes.IndexByte(ref[slash+1:], '/') < 0 {
		if kind := known(ref[:slash]); kind != "" && bytes.IndexByte(ref, '?') < 0 {
			return target{kind: kind, id: ref[slash+1:], name: ref}
		}
	}
	switch {
	case len(ref) > 0 && ref[0] == '#':
		return f.containedTarget(ref)
	case bytes.HasPrefix(ref, urn) && f.urls != nil:
		return target{name: ref} // FHIR R4 Bundle §2.36.4.1: it names an entry of its Bundle, and here is none
	case bytes.HasPrefix(ref, urn):
		return target{id: lastSegment(ref), name: ref}
	}
	if q := bytes.IndexByte(ref, '?'); q >= 0 {
		kind := ref[bytes.LastIndexByte(ref[:q], '/')+1 : q]
		return target{kind: known(kind), name: ref}
	}
	return literal(ref)
}

// Servers are the addresses of the clinic's own FHIR servers, each without the
// slash at its end. Where none is known every address counts by its type and id.
// Where one is, Patient/7 of another server is not ours: two servers may number
// alike.
type Servers []string

// ServersOf are the servers of those names that are addresses, such as
// https://ehr.example/fhir/Organization/x.
func ServersOf(names []string) (s Servers) {
	for _, name := range names {
		if server := ServerOf(name); server != "" {
			s = append(s, server)
		}
	}
	return s
}

// ServerOf is what stands before Type/id in an address, "" of anything else.
func ServerOf(ref string) string {
	if !strings.Contains(ref, "://") {
		return ""
	}
	ref, _, _ = strings.Cut(ref, string(history))
	for range 2 {
		ref = ref[:max(0, strings.LastIndexByte(ref, '/'))]
	}
	if !strings.Contains(ref, "://") {
		return ""
	}
	return ref
}

func (s Servers) foreign(ref []byte) bool {
	return len(s) > 0 && bytes.Contains(ref, scheme) && !slices.Contains(s, ServerOf(string(ref)))
}

var (
	scheme  = []byte("://")
	urn     = []byte("urn:")
	uuid    = []byte("urn:uuid:")
	history = []byte("/_history/")
)

// literal reads Type/id at the end of a reference.
func literal(ref []byte) target {
	if h := bytes.LastIndex(ref, history); h >= 0 {
		ref = ref[:h]
	}
	slash := bytes.LastIndexByte(ref, '/')
	if slash <= 0 || slash+1 == len(ref) {
		return target{name: ref}
	}
	start := bytes.LastIndexByte(ref[:slash], '/') + 1
	kind := known(ref[start:slash])
	if kind == "" {
		return target{name: ref}
	}
	return target{kind: kind, id: ref[slash+1:], name: ref[start:]}
}

// known gives a resource type its interned name, "" when there is none.
func known(kind []byte) string {
	switch string(kind) { // most references are to these
	case "Patient":
		return "Patient"
	case "Encounter":
		return "Encounter"
	case "Practitioner":
		return "Practitioner"
	case "Organization":
		return "Organization"
	}
	if r := resources[string(kind)]; r != nil {
		return r.name
	}
	return ""
}

// containedTarget looks into `contained`. A contained resource has no id
// outside of its record, so the target has none.
func (f *finder) containedTarget(ref []byte) target {
	t := target{name: ref}
	list := member(f.raw, f.doc, 0, "contained")
	if list < 0 {
		return t
	}
	f.each(list, func(inner int32) {
		at, kind := member(f.raw, f.doc, inner, "id"), member(f.raw, f.doc, inner, "resourceType")
		if at < 0 || kind < 0 || f.doc[at].Kind != String || f.doc[kind].Kind != String {
			return
		}
		if bytes.Equal(f.text(f.doc[at]), ref[1:]) {
			t.kind = known(f.text(f.doc[kind]))
		}
	})
	return t
}

// lastSegment is the id at the end of a fullUrl, or the uuid of a URN.
func lastSegment(url []byte) phi.Bytes {
	if id, ok := bytes.CutPrefix(url, uuid); ok {
		return id
	}
	if bytes.HasPrefix(url, urn) {
		return url
	}
	if t := literal(url); t.id != nil {
		return t.id
	}
	return nil
}
