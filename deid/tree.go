package deid

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/policies"
)

type action uint8

const (
	drop        action = iota // known by name only: counted
	descend                   // an object, or an array of them
	extensions                // an array of extensions, told apart by URL
	written                   // resourceType, or an extension's url: the plan's own constant stands for it
	keep                      // a leaf, copied
	keepLink                  // Reference.reference, normalized
	codeLink                  // Reference.reference, to the code of the subject
	codeSubject               // Patient.id, to the code of the subject
	yearOf
	zip3Of
	roundOf
	mapOf
	shiftOf
	tokenOf   // an id, or Reference.reference
	ordinalOf // the same
	regionOf
	displayOf  // Coding.display, in our own words
	relativeOf // for a layout only, as is bandOf
	bandOf
	keepExact // the value of a Quantity whose comparator does not leave
)

// node is one member of the tree. Its name and prefix are constants of the
// plan, so nothing of a record's member names is ever written.
type node struct {
	treatment
	name     string
	prefix   []byte // "name":
	many     bool   // FHIR has an array here
	extended bool   // stands within a known extension, which gives it its class
	kinds    uint8  // bit set of the token kinds that a leaf may have
	element  string // of a Reference.reference: the element that holds the Reference
	counter  int32
	retold   func([]byte) bool // as fits, of what the layout writes other words for: a column that does not asks for it
	system   func([]byte) bool // of a Coding: its systems
	bare     func([]byte) bool // of a Coding of which none leaves without such a system: which codes need none

	only       *condition // of the elements, those leave that meet it
	list       []*node
	names      names
	byURL      []*node // under extensions: name is the URL
	unknown    int32   // counter of members that no name of the plan or element table matches
	primitives int32   // counter of primitive extensions (_name)
}

// treatment is what is done to a leaf.
type treatment struct {
	action action
	class  extract.Class
	codes  map[string][]byte // of mapOf: what each code becomes, as JSON has it
	step   int               // of roundOf; of shiftOf, by how many days at most
	unit   string            // of relativeOf
	bands  []numberBand      // of bandOf
	fits   func([]byte) bool // of what is kept: its form; nil where any may stand
	mapped bool              // the layout writes other words for it
}

type leaf struct {
	path []string
	treatment
}

const extensionStep = "extension:"

func (pl *Plan) compileTree(p *policies.Policy, release *policies.Release) error {
	if p.Output.Layout != "ndjson" && p.Output.Layout != "" && p.Layout == nil {
		return compileError(p, release.Dataset, "", fmt.Errorf("a FHIR dataset leaves as ndjson, not as %q: write output: {layout: ndjson}", p.Output.Layout))
	}
	if p.Output.RowKey && p.Output.Layout == "ndjson" {
		return compileError(p, release.Dataset, "", errors.New("output.row_key: a FHIR resource has no place for a row key; remove it"))
	}
	if t := extract.TypeOf(release.Dataset); t == nil || !t.Resource {
		return compileError(p, release.Dataset, "", errors.New("this is no resource type of FHIR R4, and no schema says that it is delimited"))
	}
	pl.root = &node{name: release.Dataset, treatment: treatment{action: descend}}
	for _, f := range release.Fields {
		if f.OfPerson() {
			if err := pl.compilePerson(p, release, &f); err != nil {
				return compileError(p, release.Dataset, "fields."+f.Name, err)
			}
			continue
		}
		leaves, err := pl.leavesOf(p, release, &f)
		for _, l := range leaves {
			if err == nil && takes(p.Layout, release.Dataset, l.path) {
				err = pl.root.add(l, l.path)
			}
		}
		if err != nil {
			return compileError(p, release.Dataset, "fields."+f.Name, err)
		}
	}
	if err := pl.finish(pl.root, release.Dataset, release.Dataset); err != nil {
		return compileError(p, release.Dataset, "", err)
	}
	pl.start = []byte(`{"resourceType":"` + release.Dataset + `",`)
	if p.Layout != nil {
		return pl.compileLayout(p.Layout)
	}
	return nil
}

// compilePerson adds a field that is known of the person; only a layout has a
// place for it.
func (pl *Plan) compilePerson(p *policies.Policy, release *policies.Release, f *policies.Field) error {
	if p.Layout == nil {
		return errors.New("no element of a resource holds it: name a layout")
	}
	c, err := pl.cellOf(p, release, f, &extract.Schema{})
	c.counter = pl.count(release.Dataset + "." + f.Name)
	pl.cells = append(pl.cells, c)
	return err
}

// leavesOf turns a field into leaves of the tree. Under `code` only the leaves
// that name a person can leave; the rest of such a field is dropped.
func (pl *Plan) leavesOf(p *policies.Policy, release *policies.Release, f *policies.Field) ([]leaf, error) {
	dataset := release.Dataset
	codes, step := mapped(p, f, asJSON), f.Days
	bands, err := numberBands(f.Bands)
	if err != nil {
		return nil, err
	}
	switch {
	case (f.Do == policies.RelativeTime || f.Do == policies.Band) && p.Layout == nil:
		return nil, fmt.Errorf("do: %s gives a value that no FHIR element can hold; use year, or name a layout", f.Do)
	case f.Do == policies.CodeDisplay:
		codes = bySystem(codes, p.ValueSets[f.To].System)
	case f.Do == policies.Region && f.To == policies.Division:
		step = 1
	}
	if err := pl.checkOptions(f); err != nil {
		return nil, err
	}
	leaves := make([]leaf, 0, len(f.Leaves))
	for _, l := range f.Leaves {
		if len(l.Path) == 0 {
			return nil, errors.New("a leaf without a path")
		}
		link := l.Class == extract.Link && len(l.Path) > 1 && l.Path[len(l.Path)-1] == "reference"
		subject := dataset == "Patient" && len(l.Path) == 1 && l.Path[0] == "id"
		do, err := actionOf(f.Do, link, subject)
		if err != nil {
			return nil, err
		}
		if do == drop {
			continue
		}
		class, err := extensionClass(l)
		if err == nil {
			err = pl.rules.permit(class, f.Do)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(l.Path, "."), err)
		}
		var fits func([]byte) bool
		if f.Do == policies.Keep && !link {
			fits = formOf(p, class, closed(release, strings.Join(l.Path, ".")))
		}
		leaves = append(leaves, leaf{l.Path, treatment{do, class, codes, step, f.Unit, bands, fits, retold(p.Layout, dataset, l.Path)}})
	}
	if len(leaves) == 0 {
		return nil, fmt.Errorf("no part of this element can leave with do: %s; remove the field", f.Do)
	}
	return leaves, nil
}

var actions = map[policies.Transform]action{
	policies.Keep: keep, policies.CodePerson: drop, policies.Year: yearOf, policies.ZIP3: zip3Of, policies.Round: roundOf,
	policies.Map: mapOf, policies.KeepIn: mapOf, policies.CodeDisplay: displayOf, policies.Region: regionOf,
	policies.ShiftDate: shiftOf, policies.Token: tokenOf, policies.Ordinal: ordinalOf, policies.RelativeTime: relativeOf, policies.Band: bandOf,
}

func actionOf(do policies.Transform, link, subject bool) (action, error) {
	action, known := actions[do]
	switch {
	case do == policies.Constant:
		return drop, errors.New("do: constant gives a value that no FHIR element can hold; write it into the layout")
	case !known:
		return drop, fmt.Errorf("do: %s is no transform of this version of Postern; see docs/transforms.md", do)
	case do == policies.Keep && link:
		return keepLink, nil
	case do == policies.CodePerson && link:
		return codeLink, nil
	case do == policies.CodePerson && subject:
		return codeSubject, nil
	}
	return action, nil
}

func asJSON(value string) []byte {
	text, _ := json.Marshal(value) // never fails of a string
	return text
}

// extensionClass is the class of the leaf, taken from the table of known
// extensions when it stands in one. Of any other extension nothing may leave.
func extensionClass(l policies.Leaf) (extract.Class, error) {
	at := slices.IndexFunc(l.Path, func(step string) bool { return strings.HasPrefix(step, extensionStep) })
	if at < 0 {
		return l.Class, nil
	}
	for _, known := range extract.KnownExtensions() {
		if known.URL != l.Path[at][len(extensionStep):] {
			continue
		}
		below := func(path []string) bool { return slices.Equal(path, l.Path[at+1:]) }
		if !slices.ContainsFunc(known.Leaves, below) {
			return extract.Unclassed, fmt.Errorf("no leaf of the extension %s that may leave", known.Name)
		}
		if l.Path[len(l.Path)-1] == "system" {
			return extract.CodeSystem, nil
		}
		return known.Class, nil
	}
	return extract.Unclassed, errors.New("no extension whose meaning is known")
}

func (n *node) add(l leaf, path []string) error {
	step := path[0]
	if url, ok := strings.CutPrefix(step, extensionStep); ok {
		list := n.child("extension", extensions)
		if list.action != extensions || len(path) == 1 || !plainURL(url) {
			return fmt.Errorf("%s: an extension step needs a URL and a leaf below it", step)
		}
		return list.extension(url).add(l, path[1:])
	}
	if !plainName(step) || step == "extension" || step == "modifierExtension" || step == "contained" {
		return fmt.Errorf("%q is no member that a plan can name", step)
	}
	if len(path) > 1 {
		c := n.child(step, descend)
		if c.action != descend {
			return fmt.Errorf("%s is released as a whole and in part; keep one of the two", step)
		}
		return c.add(l, path[1:])
	}
	c := n.child(step, l.action)
	if c.action != l.action || c.action == descend {
		return fmt.Errorf("%s is released twice in different ways; keep one of the two", step)
	}
	c.treatment, c.element, c.extended = l.treatment, n.name, slices.ContainsFunc(l.path, func(s string) bool { return strings.HasPrefix(s, extensionStep) })
	return nil
}

// at gives the node of a path that has been added.
func (n *node) at(path []string) *node {
	for _, step := range path {
		if url, is := strings.CutPrefix(step, extensionStep); is {
			n = n.child("extension", extensions).extension(url)
		} else {
			n = n.child(step, descend)
		}
	}
	return n
}

func (n *node) child(name string, do action) *node {
	for _, c := range n.list {
		if c.name == name {
			return c
		}
	}
	c := &node{name: name, treatment: treatment{action: do}, prefix: []byte(`"` + name + `":`)}
	n.list = append(n.list, c)
	return c
}

func (n *node) extension(url string) *node {
	for _, c := range n.byURL {
		if c.name == url {
			return c
		}
	}
	c := &node{name: url, treatment: treatment{action: descend}, prefix: []byte(`{"url":"` + url + `",`)}
	n.byURL = append(n.byURL, c)
	return c
}

// finish numbers the counters, adds the members that are known by name only,
// and lays out the name tables. typ is the FHIR type at n, "" when unknown.
func (pl *Plan) finish(n *node, path, typ string) error {
	n.counter = pl.count(path)
	if n.action == extensions {
		n.unknown = pl.count(path + "(unknown)")
		for _, x := range n.byURL {
			if err := pl.finish(x, path+"("+x.name+")", "Extension"); err != nil {
				return err
			}
		}
		return nil
	}
	if n.action != descend {
		return nil
	}
	inside := extract.TypeOf(typ)
	switch {
	case n == pl.root:
		n.child("resourceType", written)
	case typ == "Extension":
		n.child("url", written)
	}
	if typ == "Coding" {
		pl.publish(n, path)
	}
	n.know(inside)
	n.exact(inside)
	pl.choose(n, path)
	n.unknown, n.primitives = pl.count(path+".(unknown)"), pl.count(path+".(primitive extension)")
	for _, c := range n.list {
		below, err := c.meet(pl, inside)
		if err == nil {
			err = pl.finish(c, path+"."+c.name, below)
		}
		if err != nil {
			return err
		}
	}
	var err error
	n.names, err = newNames(n.list)
	return err
}

// know adds what the element table and every resource has, so that a dropped
// member is counted under its own name. A name that is in no table is never
// recorded: it may itself say something about a person.
func (n *node) know(typ *extract.TypeDef) {
	n.child("extension", drop)
	if typ == nil {
		return
	}
	if typ.Resource {
		n.child("contained", drop)
		n.child("text", drop)
	}
	for _, e := range typ.Elements {
		n.child(e.Name, drop)
	}
}

// meet holds a named member against the element table and gives its type. A
// leaf that the table knows has the table's class, whatever the policy says;
// only a known extension gives its values a class of its own.
func (n *node) meet(pl *Plan, inside *extract.TypeDef) (typ string, err error) {
	if inside == nil || n.action < descend || n.action == written {
		return "", nil
	}
	e := inside.Element(n.name)
	switch {
	case e == nil:
		return "", fmt.Errorf("%s: FHIR R4 has no such element in %s", n.name, inside.Name)
	case n.action >= keep && !n.extended && e.Class != n.class:
		return "", fmt.Errorf("%s: the policy takes it for %s, FHIR R4 has it as %s", n.name, n.class, e.Class)
	case n.action >= keep:
		n.kinds = kindsOf(e.Type)
		if n.form(pl, inside, e); n.mapped {
			n.retold, n.fits = n.fits, nil
		}
	}
	n.many = e.Many
	return e.Type, nil
}

// form settles what the class alone does not: all of a Timing is of class date,
// the codes and counts in it, too, a comparator is of signs that no code has, and
// what a reference leads to is no web address.
func (n *node) form(pl *Plan, inside *extract.TypeDef, e *extract.Element) {
	switch {
	case n.fits == nil:
	case n.name == "comparator":
		n.fits = isComparator
	case strings.HasPrefix(inside.Name, "Reference") && n.name == "type":
		n.fits = isOneOf(extract.ResourceTypes())
	case e.Class != extract.Date:
	case e.Type == "code":
		n.fits = isCode
	case !slices.Contains([]string{"date", "dateTime", "instant", "time"}, e.Type):
		n.fits = pl.number
	}
}

func (pl *Plan) count(path string) int32 {
	pl.paths = append(pl.paths, path)
	return int32(len(pl.paths) - 1)
}

// kindsOf tells which JSON type a FHIR primitive has (FHIR R4 §2.6.2). A leaf
// of another is no value of its element, so nothing vouches for it. None is
// allowed for a type that is no primitive.
func kindsOf(primitive string) uint8 {
	switch primitive {
	case "boolean":
		return 1<<extract.True | 1<<extract.False
	case "decimal", "integer", "positiveInt", "unsignedInt":
		return 1 << extract.Numeral
	}
	if extract.TypeOf(primitive) != nil {
		return 0
	}
	return 1 << extract.String
}

func plainName(s string) bool {
	for i := range len(s) {
		if c := s[i] | 0x20; (c < 'a' || c > 'z') && (s[i] < '0' || s[i] > '9') {
			return false
		}
	}
	return s != ""
}

func plainURL(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] > '~' || s[i] == '"' || s[i] == '\\' {
			return false
		}
	}
	return s != ""
}
