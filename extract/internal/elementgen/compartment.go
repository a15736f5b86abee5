package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

// beyondCompartment are elements that name the patient a resource is about,
// though the resource is in no patient compartment.
var beyondCompartment = map[string][]string{
	"Contract":         {"subject"},
	"Device":           {"patient"},
	"GuidanceResponse": {"subject"},
	"Task":             {"for"},
}

type searchParameter struct {
	Code       string
	Base       []string
	Expression string
}

// readCompartments gives, for each resource type, the paths of the elements
// that put it into a patient's compartment, in the order of the definition:
// its search parameters, resolved to the elements that they search.
func readCompartments(definition, parameters string) (map[string][]string, error) {
	data, err := os.ReadFile(definition)
	if err != nil {
		return nil, err
	}
	var compartment struct {
		Resource []struct {
			Code  string
			Param []string
		}
	}
	if err := json.Unmarshal(data, &compartment); err != nil {
		return nil, fmt.Errorf("%s: %w", definition, err)
	}
	search, err := readBundle[searchParameter](parameters)
	if err != nil {
		return nil, err
	}
	paths := map[string][]string{}
	for _, r := range compartment.Resource {
		for _, code := range r.Param {
			found := searched(search, r.Code, code)
			if len(found) == 0 {
				return nil, fmt.Errorf("%s: no search parameter %s of %s names an element", parameters, code, r.Code)
			}
			for _, path := range found {
				if !slices.Contains(paths[r.Code], path) {
					paths[r.Code] = append(paths[r.Code], path)
				}
			}
		}
	}
	for resource, names := range beyondCompartment {
		paths[resource] = append(paths[resource], names...)
	}
	return paths, nil
}

// searched gives the element paths, relative to the resource, in the
// expression of a search parameter: a union whose terms may end in a
// function that narrows the target, such as .where(resolve() is Patient).
func searched(search []searchParameter, resource, code string) []string {
	var paths []string
	for _, p := range search {
		if p.Code != code || !slices.Contains(p.Base, resource) {
			continue
		}
		for term := range strings.SplitSeq(p.Expression, "|") {
			term, _, _ = strings.Cut(strings.TrimSpace(term), ".where(")
			if path, ok := strings.CutPrefix(term, resource+"."); ok {
				paths = append(paths, path)
			}
		}
	}
	return paths
}
