package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// maxNesting is how often one FHIR type may lie inside itself in a released
// path, as items do in a QuestionnaireResponse. Deeper ones do not leave.
const maxNesting = 4

// extensionStep begins the step of a path that is an extension, told by its URL.
const extensionStep = "extension:"

// neverWhole are types that never leave as a part of something larger: what
// is in them is text, another resource, or anything at all. FHIR R4 §2.6, §2.3.
var neverWhole = map[string]bool{
	"Extension": true, "Resource": true, "Narrative": true, "Annotation": true, "Attachment": true, "Meta": true,
}

// resourceType is the FHIR type of a dataset; nil when it is a delimited one.
func resourceType(dataset string) *extract.TypeDef {
	if typ := extract.TypeOf(dataset); typ != nil && typ.Resource {
		return typ
	}
	return nil
}

// AboutNobody tells whether the records of a dataset are about no patient.
func AboutNobody(dataset string) bool {
	return extract.TypeOf(dataset) != nil && dataset != "Patient" && len(extract.Compartment(dataset)) == 0
}

// fhir resolves the fields and conditions of a FHIR dataset to leaves.
func (r *reading) fhir(rel *Release) {
	path := strictyaml.Join("release", rel.Dataset)
	owner := map[string]string{}
	for i := range rel.Fields {
		f := &rel.Fields[i]
		r.fhirField(strictyaml.Join(path+".fields", f.Name), rel.Dataset, f)
		for _, l := range f.Leaves {
			joined := strings.Join(l.Path, ".")
			if other, taken := owner[joined]; taken {
				r.add(strictyaml.Join(path+".fields", f.Name), "keep one of them", "%s leaves by the field %q already", joined, other)
				break
			}
			owner[joined] = f.Name
		}
	}
	asked := map[string]string{}
	for i := range rel.Only {
		c := &rel.Only[i]
		at := strictyaml.Join(path+".only", c.Path)
		for _, l := range r.fhirCondition(at, rel.Dataset, c) {
			joined := strings.Join(l.Path, ".")
			if other, taken := asked[joined]; taken && other != c.Path {
				r.add(at, "write one condition", "%s asks about the same as %s: of an element that repeats, each could be met by another value", c.Path, other)
				break
			}
			asked[joined] = c.Path
		}
	}
	r.valuesOfAnyKind(path, rel)
	if layout := r.policy.Output.Layout; layout == "csv" {
		r.add("output.layout", "write layout: ndjson, or release a delimited dataset", "a FHIR dataset (%s) leaves as ndjson", rel.Dataset)
	}
	if r.policy.Output.RowKey && r.policy.Standard == Identified && slices.Contains(plainLayouts, r.policy.Output.Layout) {
		r.add("output.row_key", "remove row_key:", "a FHIR resource (%s) has no place for a row key", rel.Dataset)
	}
}

// valuesOfAnyKind refuses, under Safe Harbor, the value of a record that may be
// about anything: an Observation tells an age, a place or a number of the person
// as well as a score, and which it is only its code says. A component has a code
// of its own.
func (r *reading) valuesOfAnyKind(path string, rel *Release) {
	for _, f := range rel.Fields {
		for _, l := range f.Leaves {
			code := "code"
			if l.Path[0] == "component" {
				code = "component.code"
			}
			if r.policy.Standard == SafeHarbor && l.isValue() && !slices.ContainsFunc(rel.Only, func(c Condition) bool { return c.names(code) }) {
				r.add(strictyaml.Join(path+".fields", f.Name), "add only: {"+code+": [44261-6]} with the codes whose values may leave",
					"a value whose code may be any can be an age, a place or a number of the person (45 CFR 164.514(b)(2)(i))")
				break
			}
		}
	}
}

// isValue tells whether a leaf lies in a value[x] of the record; that of a known
// extension is of one kind.
func (l Leaf) isValue() bool {
	return !strings.HasPrefix(l.Path[0], extensionStep) && slices.ContainsFunc(l.Path, func(step string) bool {
		typ, ok := strings.CutPrefix(step, "value")
		return ok && typ != "" && typ != "Set"
	})
}

// names tells whether a condition lists the codes that an element may have.
func (c Condition) names(code string) bool {
	return (c.Path == code || c.Path == code+".coding" || c.Path == code+".coding.code") && !c.Codes.Empty()
}

func (r *reading) fhirField(path, resource string, f *Field) {
	switch {
	case f.Do == Constant:
		r.add(path+".do", "write it as a constant: of the recipient's layout", "no FHIR element can hold what do: constant gives")
		return
	case f.From != f.Name && f.From != FromIndex && (f.By != "" || !r.isLookUp(f.From)):
		r.add(path+".from", "remove from:", "an element of a FHIR resource is taken from itself")
		return
	case f.From != f.Name && !r.hasLayout():
		r.add(path+".from", "write output: {layout: NAME} with a layout of the recipient's", "no FHIR element can hold what is known of the person (%s)", f.From)
		return
	case slices.Contains([]Transform{AgeBand, Age, RelativeTime, Band}, f.Do) && !r.hasLayout():
		r.add(path+".do", "write do: keep or do: year, or output: {layout: NAME} with a layout of the recipient's", "no FHIR element can hold what do: %s gives", f.Do)
		return
	case f.OfPerson() && f.From == f.Name && f.Name != "birthDate" && beginsInElement(resource, f.Name):
		r.add(path+".do", "remove the field; for the patient's own age, name it otherwise, such as age", "do: %s gives the age of whom the record is about, and not what %s says", f.Do, f.Name)
		return
	case f.OfPerson():
		return
	}
	if f.Do == CodeDisplay && !strings.HasSuffix(f.Name, ".display") {
		r.add(path+".do", "name the display of a coding, such as code.coding.display", "in FHIR the words for a code stand in the display beside it")
		return
	}
	found, whole, ok := r.elements(path, resource, f.Name)
	if !ok {
		return
	}
	if !whole {
		f.Class = found[0].Class
	}
	if f.Do == Ordinal && slices.ContainsFunc(found, isPatient) {
		r.add(path+".do", "write do: code", "an ordinal numbers records, and this names the patient")
		return
	}
	std := r.policy.Standard
	for _, l := range found {
		why, instead := refusal(std, l.Class, f.Do)
		switch {
		case why == "" && f.Do == CodePerson && !pointsToPatient(resource, l):
			why, instead = "do: code stands for the patient, and this does not name the patient", "name one of "+strings.Join(patientElements(resource), ", ")
		case why == "" && f.Do == Keep && ofNobody(resource, l):
			why, instead = fmt.Sprintf("%s of %s is nobody's of whom the rows are, and the gate lets such a value out only as the own one of the patient: each drop would be stopped", strings.Join(l.Path, "."), resource), leaveOut
		case why == "":
			f.Leaves = append(f.Leaves, l)
		}
		if why != "" && (!whole || f.Do == Keep && !staysBehind[l.Class]) {
			if whole {
				why, instead = f.Name+" holds "+strings.Join(l.Path, ".")+": "+why, "name the leaves that may leave instead of the whole"
			}
			r.add(path, instead, "%s", why)
			return
		}
	}
	if len(f.Leaves) == 0 && f.Do != "" {
		r.add(path, leaveOut, "no part of %s may leave with do: %s under %s", f.Name, f.Do, std)
	}
}

// hasLayout tells whether resources leave as rows of the recipient's.
func (r *reading) hasLayout() bool {
	return r.policy.Output.Layout != "" && !slices.Contains(plainLayouts, r.policy.Output.Layout)
}

// OfPerson tells of a field of a FHIR dataset that stands in no element of the
// resource, but is known of whom it is about: an age, the year of the index date, a
// value of the roster. It leaves in a layout only.
func (f *Field) OfPerson() bool {
	return f.Do == Age || f.Do == AgeBand || f.From != "" && f.From != f.Name
}

// beginsInElement tells whether a name leads into an element of a resource.
func beginsInElement(resource, name string) bool {
	first, _, _ := strings.Cut(name, ".")
	return strings.HasSuffix(first, "[x]") || extract.TypeOf(resource).Element(first) != nil
}

// staysBehind are the classes that do not leave when the element they are part
// of is kept: nobody means them who names a value, a code or a component. A
// whole that holds any other identifier is refused instead.
var staysBehind = map[extract.Class]bool{
	extract.Date: true, extract.AgeYears: true, extract.Link: true, extract.WebAddress: true,
}

// ofNobody tells of an identifier that no Patient of an extract can have: of a
// practitioner, an organization, a plan, or the number of the record itself. What a
// reference to the patient or the resources about the patient's own person say may
// be the patient's.
func ofNobody(resource string, l Leaf) bool {
	own := slices.Contains([]string{"Patient", "Person", "RelatedPerson", "Coverage"}, resource)
	return !own && slices.Contains(vouched, l.Class) && !slices.ContainsFunc(extract.Compartment(resource), func(element string) bool {
		return strings.HasPrefix(strings.Join(l.Path, "."), element+".")
	})
}

// vouched are the classes of which the gate lets a value out as the row's own only.
var vouched = []extract.Class{
	extract.Name, extract.BirthDate, extract.Phone, extract.Fax, extract.Email, extract.SSN, extract.RecordNumber, extract.MemberNumber,
	extract.Account, extract.Licence, extract.OtherUnique, extract.Postcode, extract.Geography, extract.Town,
}

// pointsToPatient tells whether a leaf names the patient of the record.
func pointsToPatient(resource string, l Leaf) bool {
	if l.Class == extract.SubjectKey {
		return resource == "Patient" && len(l.Path) == 1
	}
	return len(l.Path) > 1 && slices.Contains(extract.Compartment(resource), strings.Join(l.Path[:len(l.Path)-1], "."))
}

// isPatient tells whether a leaf lies in the one element that names whom a record
// is about.
func isPatient(l Leaf) bool {
	return len(l.Path) == 2 && slices.Contains([]string{"subject", "patient", "beneficiary"}, l.Path[0])
}

func patientElements(resource string) []string {
	if resource == "Patient" {
		return []string{"id"}
	}
	return extract.Compartment(resource)
}

// elements finds what a field of a resource names: the leaves of it, and
// whether it is a whole element rather than one leaf. When it finds nothing it
// notes why at the key path.
func (r *reading) elements(at, resource, name string) (leaves []Leaf, whole, ok bool) {
	for _, x := range extract.KnownExtensions() {
		if x.Name == name {
			return extensionLeaves(x), true, true
		}
	}
	inside, steps := extract.TypeOf(resource), strings.Split(name, ".")
	var path []string
	for i := 0; ; i++ {
		step, last := steps[i], i == len(steps)-1
		if choice, ok := strings.CutSuffix(step, "[x]"); ok && last {
			leaves = choiceLeaves(inside, choice, path)
		}
		e := inside.Element(step)
		switch {
		case len(leaves) > 0:
			return leaves, true, true
		case e == nil:
			r.unknownElement(at, inside, step, resource)
			return nil, false, false
		}
		path = append(path, step)
		next, plain := extract.TypeOf(e.Type), plainType(e.Type)
		switch {
		case neverWhole[plain] && (last || next == nil || plain == "Extension" || plain == "Narrative"):
			r.add(at, wholeHint(plain), "%s may hold anything and does not leave as a whole", step)
			return nil, false, false
		case last && next == nil:
			return []Leaf{{Path: path, Class: e.Class}}, false, true
		case last:
			return leavesOf(nil, e, path[:i], map[string]int{}, true), true, true
		case next == nil:
			r.add(at, "name "+strings.Join(path, "."), "%s has no elements of its own", step)
			return nil, false, false
		}
		inside = next
	}
}

// plainType is a FHIR type without the note by which the element table tells
// its narrowed forms apart.
func plainType(typ string) string {
	plain, _, _ := strings.Cut(typ, "(")
	return plain
}

func wholeHint(typ string) string {
	if typ == "Extension" {
		return "name a known extension: " + strings.Join(extensionNames(), ", ")
	}
	if extract.TypeOf(typ) != nil && typ != "Narrative" {
		return "name the leaves that are needed, each with its reason"
	}
	return leaveOut
}

func extensionNames() (names []string) {
	for _, x := range extract.KnownExtensions() {
		names = append(names, x.Name)
	}
	return names
}

func (r *reading) unknownElement(at string, inside *extract.TypeDef, step, resource string) {
	names, hint := inside.ElementNames(), ""
	if inside.Name == resource {
		names = append(names, extensionNames()...)
	}
	if near := strictyaml.Nearest(step, names); near != "" {
		hint = "did you mean \"" + near + "\"?"
	} else if len(choiceLeaves(inside, step, nil)) > 0 {
		hint = "write " + step + "[x] for all its types, or one of them"
	} else {
		names = slices.DeleteFunc(names, func(name string) bool { return !strings.HasPrefix(name, step) })
		if hint = page.Or(names); hint != "" {
			hint = "did you mean " + hint + "?"
		}
	}
	r.add(at, hint, "%s has no element %s (FHIR R4)", inside.Name, step)
}

func extensionLeaves(x extract.Extension) []Leaf {
	var leaves []Leaf
	for _, inner := range x.Leaves {
		class := x.Class
		if inner[len(inner)-1] == "system" {
			class = extract.CodeSystem
		}
		leaves = append(leaves, Leaf{Path: append([]string{extensionStep + x.URL}, inner...), Class: class})
	}
	return leaves
}

// choiceLeaves are the leaves of all types of a choice element: value[x] is
// valueQuantity, valueString and so on. It never repeats and has two types at
// least, so reasonReference is none (FHIR R4, Choice of Data Types).
func choiceLeaves(inside *extract.TypeDef, choice string, path []string) []Leaf {
	var leaves []Leaf
	types := 0
	for i := range inside.Elements {
		e := &inside.Elements[i]
		if suffix, ok := strings.CutPrefix(e.Name, choice); ok && !e.Many && strings.EqualFold(suffix, plainType(e.Type)) {
			leaves = leavesOf(leaves, e, path, map[string]int{}, true)
			types++
		}
	}
	if types < 2 {
		return nil
	}
	return leaves
}

// leavesOf lists the leaves of an element; what may hold anything is one of
// free text. Of an element that is released as a whole they are those that
// leave with it: never text, narrative, annotations, attachments, extensions,
// contained resources, web addresses, or what has no class.
func leavesOf(leaves []Leaf, e *extract.Element, path []string, within map[string]int, whole bool) []Leaf {
	path = append(slices.Clip(path), e.Name)
	plain, typ := plainType(e.Type), extract.TypeOf(e.Type)
	switch {
	case whole && neverWhole[plain]:
		return leaves
	case plain == "Extension" || plain == "Resource" || plain == "Narrative":
		return append(leaves, Leaf{path, extract.FreeText})
	case typ != nil:
	case whole && (e.Class == extract.FreeText || e.Class == extract.Unclassed || e.Class == extract.WebAddress):
		return leaves
	default:
		return append(leaves, Leaf{path, e.Class})
	}
	if within[typ.Name] >= maxNesting || plain == "Reference" && within[typ.Name] >= 1 {
		return leaves
	}
	within[typ.Name]++
	for i := range typ.Elements {
		if inner := &typ.Elements[i]; !whole || plain != "Reference" || inner.Name == "reference" {
			leaves = leavesOf(leaves, inner, path, within, whole)
		}
	}
	within[typ.Name]--
	return leaves
}

// fhirCondition checks that a condition compares something that can be told,
// and gives the leaves that it asks about.
func (r *reading) fhirCondition(path, resource string, c *Condition) []Leaf {
	if c.Period != "" && c.Path == "date" {
		return nil // the date of the record, whatever its type calls it
	}
	found, whole, ok := r.elements(path, resource, c.Path)
	if !ok {
		return nil
	}
	class, element := extract.Unclassed, extract.TypeOf(resource).Element(c.Path)
	switch {
	case !whole:
		class = found[0].Class
	case isCoded(found):
		class = extract.Code
	case c.ends[0] != "" && element != nil && plainType(element.Type) == "Quantity":
		class = extract.Number // a quantity stands for its value
	}
	if why, hint := c.settled(r.policy.Standard, class); why != "" {
		r.add(path, hint, "%s", why)
		return nil
	}
	return found
}

// isCoded tells whether the leaves are those of a Coding or CodeableConcept:
// its codes can be compared, whatever their place in it.
func isCoded(leaves []Leaf) bool {
	coded := false
	for _, l := range leaves {
		switch l.Path[len(l.Path)-1] {
		case "code":
			coded = true
		case "system", "userSelected":
		default:
			return false
		}
		if strings.HasPrefix(l.Path[0], extensionStep) {
			return false
		}
	}
	return coded
}
