package extract

import (
	_ "embed"
	"slices"
	"strings"
)

// resource is what facts need to know of a FHIR R4 resource type. Providers
// and patients need no list: every Reference of a record is looked at,
// wherever it stands, which covers the patient compartment of R4
// (CompartmentDefinition/patient) and what an extension or a contained
// resource adds to it.
type resource struct {
	name        string
	mustConcern bool // a patient must be named, else no-subject
	nested      bool // holds other resources; read only as a file of its own
	ofPatients  bool // may be about a patient
	derives     bool // has elements that name what it is derived from
	elements    []element
	maybe       uint64 // a bit per element, as in a level: most members are none
}

// element is an element at the top of a resource that facts are taken from.
type element struct {
	key  uint64
	name string
	role elementRole
	rank uint8  // of dates: the lowest that is present is the date of service
	step string // of dates: the member of a Period
}

type elementRole uint8

const (
	plain elementRole = iota
	whole             // the patient that the resource as a whole is about
	date
	encounter
	code
	id
	meta
	status
	contained
	evidence // records that this one is derived from, or that it sums up
)

// find gives the element that a member name stands for, nil when facts do not
// need it.
func (r *resource) find(b []byte, name Token) *element {
	key := nameKey(b, int(name.Start), int(name.End))
	if r.maybe&keyBit(key) == 0 {
		return nil
	}
	for i := range r.elements {
		if e := &r.elements[i]; e.key == key && string(b[name.Start:name.End]) == e.name {
			return e
		}
	}
	return nil
}

// resourceTable begins with how its lines read.
//
//go:embed resources.txt
var resourceTable string

var resources = func() map[string]*resource {
	all := make(map[string]*resource)
	for line := range strings.Lines(resourceTable) {
		if strings.HasPrefix(line, "#") {
			continue
		}
		columns := strings.Split(strings.TrimSpace(line), "|")
		name := strings.TrimSpace(columns[0])
		r := &resource{name: strings.TrimRight(name, "!*"), mustConcern: strings.HasSuffix(name, "!"), nested: strings.HasSuffix(name, "*")}
		add := func(name string, role elementRole, rank int) {
			name, step, _ := strings.Cut(name, ".")
			r.elements = append(r.elements, element{keyOf(name), name, role, uint8(rank), step})
			r.maybe |= keyBit(keyOf(name))
		}
		add("id", id, 0)
		add("meta", meta, 0)
		add("status", status, 0)
		for i, role := range []elementRole{whole, date, encounter, code, evidence} {
			if i+1 < len(columns) {
				for rank, name := range strings.Fields(columns[i+1]) {
					add(name, role, rank)
				}
			}
		}
		add("contained", contained, 0)
		r.ofPatients = r.mustConcern || slices.ContainsFunc(r.elements, func(e element) bool { return e.role == whole })
		r.derives = slices.ContainsFunc(r.elements, func(e element) bool { return e.role == evidence })
		all[r.name] = r
	}
	return all
}()
