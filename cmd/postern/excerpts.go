package main

import (
	"errors"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// withExcerpts is the text of an error in which each mistake of a file shows
// the line it is in, and a caret under it. What is only still to be filled in
// stays a list: who fills it in follows it line by line.
func withExcerpts(err error) string {
	text := err.Error()
	var mistakes *strictyaml.Errors
	var shown strings.Builder
	if !errors.As(err, &mistakes) || mistakes.Only(strictyaml.ErrPlaceholder) || mistakes.Render(&shown) != nil {
		return text
	}
	return strings.Replace(text, mistakes.Error(), strings.TrimSuffix(shown.String(), "\n"), 1)
}
