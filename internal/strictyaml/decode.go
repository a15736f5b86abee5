package strictyaml

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"
)

func (n Node) into(v reflect.Value) {
	if raw, ok := v.Addr().Interface().(*Node); ok {
		*raw = n
		return
	}
	if n.isPlaceholder() {
		n.placeholder(v)
		return
	}
	if n.IsEmpty() {
		n.Fail("give a value, or remove the key", "the value is empty")
		return
	}
	switch target := v.Addr().Interface().(type) {
	case Unmarshaler:
		target.UnmarshalNode(n)
		return
	case *time.Time:
		n.intoTime(target)
		return
	}
	switch v.Kind() {
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		n.into(v.Elem())
	case reflect.Struct:
		n.intoStruct(v)
	case reflect.Map:
		n.intoMap(v)
	case reflect.Slice:
		n.intoSlice(v)
	default:
		n.intoScalar(v)
	}
}

func (n Node) isPlaceholder() bool {
	return n.yaml.Kind == yaml.ScalarNode && strings.HasPrefix(n.yaml.Value, PlaceholderPrefix)
}

func (n Node) placeholder(v reflect.Value) {
	m := Mistake{n.source.File, n.Pos().Line, n.Pos().Column, n.path, "the value is still to be filled in", n.yaml.Value, ErrPlaceholder}
	if !n.source.drafts {
		n.source.errs.AddCause(n.Pos(), m.Path, m.Message, m.Hint, m.Cause)
		return
	}
	n.source.holes = append(n.source.holes, m)
	if v.Kind() == reflect.String {
		v.SetString(n.yaml.Value)
	}
}

type field struct {
	name     string
	index    int
	required bool
	words    []string // the only values there are; nil: any
	why      string   // of the words, where that is not plain
	about    string   // what the key says, for editors
}

func fields(t reflect.Type) []field {
	var list []field
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		name, option, _ := strings.Cut(tag.Get("yaml"), ",")
		if name == "" || !t.Field(i).IsExported() {
			continue
		}
		f := field{name: name, index: i, required: option == "required", why: tag.Get("why"), about: tag.Get("about")}
		if words := tag.Get("words"); words != "" {
			f.words = strings.Split(words, "|")
		}
		list = append(list, f)
	}
	return list
}

// Exampler is a struct of which people write a single value where it asks for
// keys: Example shows the keys, with that value where it belongs.
type Exampler interface{ Example(value string) string }

func (n Node) intoStruct(v reflect.Value) {
	if e, ok := v.Addr().Interface().(Exampler); ok && n.IsScalar() {
		n.Fail("write "+n.Key()+": "+e.Example(n.Text()), "must be %s, is %s", kindNames[yaml.MappingNode], kindNames[yaml.ScalarNode])
		return
	}
	if !n.want(yaml.MappingNode) {
		return
	}
	known := fields(v.Type())
	names := make([]string, len(known))
	for i, f := range known {
		names[i] = f.name
	}
	present := map[string]bool{}
	for _, e := range n.Entries() {
		present[e.Key] = true
		i := slices.IndexFunc(known, func(f field) bool { return f.name == e.Key })
		if i < 0 {
			n.unknown(e, names)
		} else if e.Value.closed(&known[i]) {
			e.Value.into(v.Field(known[i].index))
		}
	}
	for _, f := range known {
		if f.required && !present[f.name] {
			n.source.errs.Add(n.source.AtKey(n.path), Join(n.path, f.name), "the key is missing", "add "+f.name+":")
		}
	}
}

// closed holds a value, or each one of a list, against the words that there
// are. It is false when one is none of them, which it notes.
func (n Node) closed(f *field) bool {
	ok := true
	for _, item := range n.Items() {
		ok = item.closed(f) && ok
	}
	if len(f.words) == 0 || !n.IsScalar() || n.IsEmpty() || n.isPlaceholder() || slices.Contains(f.words, n.Text()) {
		return ok
	}
	why, hint := f.why, DidYouMean(n.Text(), f.words)
	if len(f.words) == 1 {
		hint = "write " + f.name + ": " + f.words[0]
	}
	if why == "" {
		why = fmt.Sprintf("%q is no value of %s", n.Text(), f.name)
	}
	n.Fail(hint, "%s", why)
	return false
}

// unknown notes a key that the target does not know. In {because: one, two}
// the comma makes "two" a key without a value, which people do not expect.
func (n Node) unknown(e NodeEntry, known []string) {
	hint := DidYouMean(e.Key, known)
	if e.Value.IsEmpty() && n.yaml.Style&yaml.FlowStyle != 0 {
		hint = "a comma inside { } ends the value before it: put a text with a comma in quotes"
	}
	n.source.errs.Add(e.KeyPos, e.Value.path, fmt.Sprintf("unknown key %q", e.Key), hint)
}

// DidYouMean is the hint for a name that is not among the known ones.
func DidYouMean(name string, known []string) string {
	if near := Nearest(name, known); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if len(known) == 0 {
		return ""
	}
	const most = 24
	if len(known) > most {
		return "known are " + strings.Join(known[:most], ", ") + " and others"
	}
	return "known are " + strings.Join(known, ", ")
}

func (n Node) intoMap(v reflect.Value) {
	if !n.want(yaml.MappingNode) {
		return
	}
	v.Set(reflect.MakeMap(v.Type()))
	for _, e := range n.Entries() {
		value := reflect.New(v.Type().Elem()).Elem()
		e.Value.into(value)
		v.SetMapIndex(reflect.ValueOf(e.Key).Convert(v.Type().Key()), value)
	}
}

func (n Node) intoSlice(v reflect.Value) {
	if !n.want(yaml.SequenceNode) {
		return
	}
	items := n.Items()
	v.Set(reflect.MakeSlice(v.Type(), len(items), len(items)))
	for i, item := range items {
		item.into(v.Index(i))
	}
}

func (n Node) intoScalar(v reflect.Value) {
	if !n.want(yaml.ScalarNode) {
		return
	}
	text := n.yaml.Value
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Bool:
		switch text {
		case "true", "yes":
			v.SetBool(!n.quoted())
		case "false", "no":
		default:
			n.Fail("write yes or no", "%q is neither yes nor no", text)
			return
		}
		n.refuseQuotes()
	case reflect.Int, reflect.Int64:
		number, err := strconv.ParseInt(text, 10, 64)
		if err != nil || strconv.FormatInt(number, 10) != text || v.OverflowInt(number) {
			n.Fail("write digits only, such as 12", "%q is no whole number", text)
			return
		}
		v.SetInt(number)
		n.refuseQuotes()
	case reflect.Float64:
		number, err := Decimal(text)
		if err != nil {
			n.Fail("write a number such as 0.5", "%q is no number", text)
			return
		}
		v.SetFloat(number)
		n.refuseQuotes()
	default:
		n.Fail("", "cannot be read into %s", v.Type())
	}
}

// Decimal reads digits with at most one point: no exponents, infinities,
// underscores or other bases, which people read differently.
func Decimal(text string) (float64, error) {
	if text == "" || strings.Trim(text, "0123456789.-") != "" || strings.HasPrefix(text, ".") || strings.HasSuffix(text, ".") {
		return 0, strconv.ErrSyntax
	}
	return strconv.ParseFloat(text, 64)
}

func (n Node) intoTime(target *time.Time) {
	if !n.want(yaml.ScalarNode) {
		return
	}
	at, err := time.Parse(time.RFC3339, n.yaml.Value)
	if err != nil {
		n.Fail("write it as 2026-07-05T02:00:00-05:00", "%q is no point in time (RFC 3339)", n.yaml.Value)
		return
	}
	*target = at
}

func (n Node) quoted() bool {
	return n.yaml.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) != 0
}

func (n Node) refuseQuotes() {
	if n.quoted() {
		n.Fail("remove the quotes", "a value in quotes is text")
	}
}

var kindNames = map[yaml.Kind]string{
	yaml.MappingNode:  "a mapping (key: value)",
	yaml.SequenceNode: "a list ([a, b])",
	yaml.ScalarNode:   "a single value",
}

// want notes a mistake unless the node has the kind.
func (n Node) want(kind yaml.Kind) bool {
	if n.yaml.Kind == kind {
		return true
	}
	if n.yaml.Kind != yaml.AliasNode { // refused already
		n.Fail("", "must be %s, is %s", kindNames[kind], kindNames[n.yaml.Kind])
	}
	return false
}
