package strictyaml

import (
	"encoding/json"
	"fmt"
)

// AppendJSON appends the node as JSON: plain numbers and booleans as they are
// written, all other scalars as text.
func (n Node) AppendJSON(b []byte) []byte {
	switch {
	case n.IsList():
		for i, item := range n.Items() {
			b = item.AppendJSON(append(b, "[,"[min(i, 1)]))
		}
		if len(n.yaml.Content) == 0 {
			b = append(b, '[')
		}
		return append(b, ']')
	case n.IsMap():
		entries := n.Entries()
		for i, e := range entries {
			b = fmt.Appendf(append(b, "{,"[min(i, 1)]), "%s:", quote(e.Key))
			b = e.Value.AppendJSON(b)
		}
		if len(entries) == 0 {
			b = append(b, '{')
		}
		return append(b, '}')
	case n.IsEmpty():
		return append(b, "null"...)
	case n.plain() && json.Valid([]byte(n.Text())):
		return append(b, n.Text()...)
	}
	return append(b, quote(n.Text())...)
}

// plain tells of a scalar that is a number or a boolean, and not in quotes.
func (n Node) plain() bool {
	return n.yaml.Tag == "!!int" || n.yaml.Tag == "!!float" || n.yaml.Tag == "!!bool"
}

func quote(text string) []byte {
	quoted, _ := json.Marshal(text) // a string always can be
	return quoted
}
