package policies

import (
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// SampleText begins a legal text that is none: it stands where an officer's
// wording belongs, in the demo and in tests.
const SampleText = "SAMPLE, NOT LEGAL TEXT"

// legal notes a legal text that the policy names and that is not yet what its
// officer means to say.
func (r *reading) legal(path, name string, text []byte) {
	at := r.source.At(path)
	m := strictyaml.Mistake{File: r.policy.File, Line: at.Line, Column: at.Column, Path: path, Hint: "the officer supplies the wording of 42 CFR 2.32", Cause: ErrPlaceholder}
	switch {
	case strings.Contains(string(text), strictyaml.PlaceholderPrefix):
		m.Message = "the text in " + name + " is still to be filled in"
		r.policy.unfilled = append(r.policy.unfilled, m)
	case strings.Contains(string(text), SampleText):
		m.Message = "the text in " + name + " is a sample and no legal text"
		r.policy.samples = append(r.policy.samples, m)
	}
}
