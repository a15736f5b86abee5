package policies

import (
	"slices"
	"strings"
)

// Include is a file that a policy names and stands on.
type Include struct {
	Name   string // path relative to the policy, as written there
	SHA256 string // hex, of the file's bytes
}

// Includes are the files that the policy names, by name.
func (p *Policy) Includes() []Include {
	return slices.SortedFunc(slices.Values(p.includes), func(a, b Include) int { return strings.Compare(a.Name, b.Name) })
}

// Written tells whether the policy's file holds a clause, a key path in it. A
// policy that was not made from a file holds all.
func (p *Policy) Written(clause string) bool { return p.source == nil || p.source.Has(clause) }

// IsOpen tells whether the value of a clause is still to be filled in.
func (p *Policy) IsOpen(clause string) bool { return p.source.IsPlaceholder(clause) }
