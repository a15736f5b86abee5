package policies

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// smallestCell is the smallest count of people that may show, but zero (CMS cell
// size policy; LAW, Aggregates).
const smallestCell = 11

// hidesSmallCells asks for the control without which a table tells of single
// people: no cell of 1-10, none that can be reckoned from the cells around it,
// from another table or from an earlier drop, and an audit of just that.
func (p *Policy) hidesSmallCells(say saying) {
	const path = "protect"
	if p.Protect == nil {
		say(path, "add protect: {smallest_count: 11, first: coarsen, then: suppress, against: [this-table, linked-tables, earlier-drops: 5 years], audit: required}",
			"tables of people leave without small cells only (CMS cell size policy)")
		return
	}
	if p.Protect.Smallest < smallestCell {
		say(path+".smallest_count", "write smallest_count: 11", "counts of 1 to 10 people tell of single people (CMS cell size policy)")
	}
	if p.Protect.Then == "" {
		say(path+".then", "write then: suppress", "a cell that stays small is suppressed, and another with it, so that it cannot be reckoned")
	}
	for _, from := range []string{"this-table", "linked-tables", "earlier-drops"} {
		if !slices.Contains(p.Protect.Against, from) {
			say(path+".against", "add "+from, "a small cell could be reckoned from %s", strings.ReplaceAll(from, "-", " "))
		}
	}
	if !p.Protect.Audit {
		say(path+".audit", "write audit: required", "that no small cell can be reckoned is proved for each drop")
	}
}

// dimensions holds what people are counted by against the ground's standard.
func (c *checking) dimensions() {
	for _, t := range c.Tables {
		for i, d := range t.By {
			path := fmt.Sprintf("%s.by[%d]", strictyaml.Join("tables", t.Name), i)
			if why, hint := dimensionRefusal(c.judgedBy(), d); why != "" && !c.broken[strictyaml.Join(path, d.Path)] {
				c.add(path, hint, "%s", why)
			}
		}
	}
}

// dimensionRefusal says why people may not be counted by a dimension; "" when
// they may.
func dimensionRefusal(std Standard, d Dimension) (why, hint string) {
	letter := letterOf(harborIdentifiers, d.Class)
	switch why := forbids(std, d.Class, d.does()); {
	case why != "":
		return "people are not counted by " + a(d.Class) + ": " + why, "remove the dimension, or coarsen it"
	case letter != "" && letter != "(B)" && letter != "(C)":
		return "a table by " + a(d.Class) + " lists people one by one", "remove the dimension"
	}
	for _, band := range d.Bands {
		if !endsAt90(band) {
			return "the band " + band + " parts ages over 89, which are one group (45 CFR 164.514(b)(2)(i)(C))", "let the last band be 90+ or begin earlier"
		}
	}
	return "", ""
}

// does is the transform that a dimension amounts to.
func (d Dimension) does() Transform {
	switch {
	case len(d.Bands) > 0:
		return AgeBand
	case d.Coarsen != "":
		return Map
	}
	return Keep
}

// endsAt90 tells whether a band of ages, 18-44 or 65+, parts none over 89.
func endsAt90(band string) bool {
	low, high, closed := strings.Cut(strings.TrimSuffix(band, "+"), "-")
	if closed {
		low = high
	}
	years, err := strconv.Atoi(low)
	return err == nil && (years < oldestAge || years == oldestAge && !closed)
}
