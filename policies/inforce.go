package policies

import (
	"errors"
	"strconv"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// ErrNotInForce is the cause of a mistake that is right on another day: a paper
// that has lapsed or does not hold yet.
var ErrNotInForce = errors.New("not in force today")

// inForce holds every paper that the policy stands on against the calendar.
func (c *checking) inForce() {
	a := &c.Agreement
	c.begun("agreement.from", "the agreement begins on", a.From)
	c.over("agreement.to", "the agreement ended on", "name the one that follows it", a.To)
	if a.To == extract.NoDay {
		c.over("agreement.review_by", "the open agreement had to be reviewed by", "the officer reviews it and dates the next review", a.ReviewBy)
	}
	if a := c.Attest; a != nil {
		const path = "attest.actual_knowledge"
		c.begun(path+".on", "the attestation (45 CFR 164.514(b)(2)(ii)) is dated", a.On)
		c.over(path+".review_by", "the attestation (45 CFR 164.514(b)(2)(ii)) had to be reviewed by", "the officer reviews it and dates it anew", a.ReviewBy)
	}
	if d := c.Certificate; d != nil {
		c.begun("certificate.on", "the expert's determination (45 CFR 164.514(b)(1)) is dated", d.On)
		c.over("certificate.expires", "the expert's determination (45 CFR 164.514(b)(1)) expired on", "have it renewed", d.Expires)
	}
	for _, name := range sortedNames(c.ValueSets) {
		path := strictyaml.Join("include", name)
		if set := c.ValueSets[name]; set != nil {
			c.begun(path, "the value set takes effect on", set.From)
			c.over(path, "the value set was in effect until", "include the one that follows it", set.To)
		}
	}
	c.cohortYear()
}

func (c *checking) begun(path, what string, from extract.Day) {
	if from > c.env.Today {
		c.lapse(path, "wait, or correct the date", what+" "+from.String()+", and today is "+c.env.Today.String())
	}
}

func (c *checking) over(path, what, hint string, to extract.Day) {
	if to != extract.NoDay && to < c.env.Today {
		c.lapse(path, hint, what+" "+to.String()+", and today is "+c.env.Today.String())
	}
}

func (c *checking) lapse(path, hint, message string) {
	at := c.mistakes.source.At(path)
	c.note(strictyaml.Mistake{File: c.File, Line: at.Line, Column: at.Column, Path: path, Message: message, Hint: hint, Cause: ErrNotInForce})
}

// cohortYear refuses an index year that has not ended: nobody knows yet who is
// in the cohort. Whether every window has closed is judged as of each run.
func (c *checking) cohortYear() {
	if c.Cohort == nil {
		return
	}
	year, err := strconv.Atoi(c.Cohort.IndexYear)
	if err == nil && year >= c.env.Today.Year() {
		c.lapse("cohort.index_year", "write last-closed, or a year that is over", "the index year "+c.Cohort.IndexYear+" is not over")
	}
}
