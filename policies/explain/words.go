package explain

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/policies"
)

// The words of the language in plain English. What has none here is shown as
// it is written.

var kindWords = map[string]string{
	"health-plan": "a health plan", "provider": "a health care provider", "hie": "a health information exchange",
	"clearinghouse": "a health care clearinghouse", "vendor": "a vendor that works for us", "registry": "a registry",
	"researcher": "a researcher", "public-health": "a public health authority", "oversight": "a health oversight agency",
}

var standardWords = map[policies.Standard]string{
	policies.Identified:          "records that show who the patient is",
	policies.LimitedDataSet:      "a limited data set: records without the sixteen identifiers that 45 CFR 164.514(e)(2) names. They may hold dates, towns and ZIP codes, and are still protected health information",
	policies.SafeHarbor:          "de-identified records (Safe Harbor): of the eighteen identifiers in 45 CFR 164.514(b)(2)(i) none leaves but in the forms that the law allows",
	policies.ExpertDetermination: "de-identified records, by the determination of an expert",
	policies.Aggregate:           "counts of people, and no records",
}

// purposeWords are those of the purpose, or of the wider one it lies in.
func purposeWords(code string) string {
	switch wider, words := policies.PurposeMeaning(code); wider {
	case "":
		return code
	case code:
		return words + " (" + code + ")"
	default:
		return code + ", which is part of " + words + " (" + wider + ")"
	}
}

var basisWords = map[string]string{
	"164.506(c)(1)": "our own treatment, payment or health care operations",
	"164.506(c)(2)": "treatment by another provider",
	"164.506(c)(3)": "the recipient's own payment activities",
	"164.506(c)(4)": "the recipient's own health care operations, about people with whom both of us have or had a relationship",
	"164.506(c)(5)": "operations of the organized health care arrangement that both of us belong to",
	"164.508":       "the patient's own written authorization",
	"164.512(a)":    "a disclosure that another law requires",
	"164.512(b)":    "public health activities",
	"164.512(d)":    "health oversight",
	"164.502(d)":    "information that has been de-identified",
	"164.514(e)":    "a limited data set for research, public health or health care operations",
}

var agreementWords = map[string]string{
	"provider-contract": "the provider contract", "participation": "the participation agreement", "baa": "the business associate agreement",
	"dua": "the data use agreement", "authorization": "the authorization", "law": "the law",
}

var aggregateWords = map[string]string{
	"safe-harbor-dimensions": "people are counted only by what Safe Harbor allows to be told (45 CFR 164.514(b)(2)(i))",
	"expert-determination":   "an expert has determined that they show nobody (45 CFR 164.514(b)(1))",
	"contract":               "they are treated as protected health information, under contract (45 CFR 164.506(c)(4))",
}

var inputWords = map[string]string{
	"roster": "the list of members", "consents": "what patients have decided", "restrictions": "what patients have restricted",
	"programs": "our substance use programs",
	"merges":   "our list of merged patients",
}

// instruments are the LOINC codes of the questionnaires that Postern is made
// for: a board knows PHQ-9, and not 44261-6.
var instruments = map[string]string{
	"44261-6": "PHQ-9", "55758-7": "PHQ-2", "70274-6": "GAD-7", "75626-2": "AUDIT-C", "82667-7": "DAST-10",
}

// periodWords say when the date of a record must lie.
func periodWords(e *explaining, clause, period string) string {
	switch period {
	case policies.MeasureYear:
		return "lies in the calendar year of the day as of which the delivery is made"
	case policies.LastClosedYear:
		return "lies in the last full calendar year before the day as of which the delivery is made"
	case policies.LastClosedMonth:
		return "lies in the last full month before the day as of which the delivery is made"
	}
	first, last, _ := policies.ClosedRange(period)
	return "lies from " + e.day(clause, first) + " to " + e.day(clause, last)
}

// codeWords are the codes of a set, as a sentence names them.
func codeWords(set policies.CodeSet) (list []string) {
	set.Each(func(from, to string, deep bool) {
		switch name := instruments[from]; {
		case from == to && deep:
			list = append(list, "a code that begins with "+from)
		case from != to:
			list = append(list, "a code from "+from+" to "+to)
		case name != "":
			list = append(list, from+" ("+name+")")
		default:
			list = append(list, from)
		}
	})
	return list
}

// sentence ends a text that somebody wrote as a sentence ends.
func sentence(text string) string {
	text = strings.TrimSpace(text)
	if strings.HasSuffix(text, ".") || strings.HasSuffix(text, "!") || strings.HasSuffix(text, "?") {
		return text
	}
	return text + "."
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// span is a length of time as people say it. Years are written as 366 days.
func span(d time.Duration) string {
	days := int(d / (24 * time.Hour))
	switch {
	case d%(366*24*time.Hour) == 0:
		return count(days/366, "year")
	case d%(24*time.Hour) == 0:
		return count(days, "day")
	case d%time.Hour == 0:
		return count(int(d/time.Hour), "hour")
	}
	return d.String()
}

// weeks are how windows are counted, where it is by whole ones.
func weeks(days int) string {
	if days%7 == 0 {
		return count(days/7, "week")
	}
	return count(days, "day")
}

func percent(share float64) string {
	return strconv.FormatFloat(math.Round(share*1e6)/1e4, 'f', -1, 64) + "%"
}

func inputName(name, kind string) string {
	if words := inputWords[kind]; words != "" {
		name += " (" + words + ")"
	}
	return name
}
