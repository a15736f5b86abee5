package consent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// classified asks what the clinic has declared about codes and providers: for
// the label itself, and for those under it.
func (s *situation) classified(label string, r *record) truth {
	tells, declared := no, false // of what does not bear the wider label, the narrower needs no declaration
	for _, item := range listOf(s.clinic["classifier"]) {
		d := item.(map[string]any)
		if under := text(d["label"]); isUnder(under, label) {
			tells, declared = either(tells, declaredOf(d, r)), declared || under == label
		} else if isUnder(label, under) {
			declared = declared || declaredOf(d, r) == no
		}
	}
	if !declared {
		tells = either(tells, doubt)
	}
	return tells
}

func declaredOf(d map[string]any, r *record) truth {
	if holdsAny(d["codes"], r.codes) || slices.ContainsFunc(texts(d["providers"]), func(p string) bool { return slices.Contains(r.providers, p) }) {
		return yes
	}
	if text(d["otherwise"]) == "not" && len(r.codes) > 0 && !holdsAny(d["perhaps"], r.codes) {
		return no
	}
	return doubt
}

// holdsAny: FIRST..LAST, CODE or PREFIX*, an ICD-10 code with or without its
// point.
func holdsAny(entries any, codes []string) bool {
	for _, entry := range texts(entries) {
		for _, code := range codes {
			if holdsCode(bare(entry), bare(code)) {
				return true
			}
		}
	}
	return false
}

func holdsCode(entry, code string) bool {
	if first, last, ranged := strings.Cut(entry, ".."); ranged {
		return code >= bare(first) && (code <= bare(last) || strings.HasPrefix(code, bare(last)))
	}
	if prefix, open := strings.CutSuffix(entry, "*"); open {
		return strings.HasPrefix(code, prefix)
	}
	return entry == code
}

// bare takes the point out of an ICD-10 code: a letter, a digit, one more, a
// point and the rest.
func bare(code string) string {
	if len(code) > 4 && code[3] == '.' && code[4] != '.' && code[0] >= 'A' && code[0] <= 'Z' {
		return code[:3] + code[4:]
	}
	return code
}

// loadClassifier writes what is declared as the files of the clinic.
func loadClassifier(t testing.TB, s *situation, folder string) (*consent.Classifier, error) {
	var include, labels, notes strings.Builder
	for i, item := range listOf(s.clinic["classifier"]) {
		d := item.(map[string]any)
		fmt.Fprintf(&labels, "  %s:\n", text(d["label"]))
		for key, entries := range map[string][]string{"in": texts(d["codes"]), "perhaps": texts(d["perhaps"])} {
			if len(entries) > 0 {
				name := fmt.Sprintf("%s-%d", key, i)
				writeFile(t, folder, name+".yaml", valueSet(entries))
				fmt.Fprintf(&include, "  %s: %s.yaml\n", name, name)
				fmt.Fprintf(&labels, "    %s: [%s]\n", key, name)
			}
		}
		if providers := texts(d["providers"]); len(providers) > 0 {
			fmt.Fprintf(&labels, "    providers: [%s]\n", strings.Join(providers, ", "))
		}
		otherwise := "cannot tell"
		if text(d["otherwise"]) != "" {
			otherwise = text(d["otherwise"])
		}
		fmt.Fprintf(&labels, "    otherwise: %s\n", otherwise)
	}
	for _, kind := range []string{"psychotherapy", "sud-counseling"} {
		key := strings.ReplaceAll(kind, "-", "_") + "_notes"
		types, authors := texts(s.clinic[key]), texts(s.clinic[key+"_authors"])
		if len(types)+len(authors) > 0 {
			fmt.Fprintf(&notes, "  %s: {types: [%s], authors: [%s]}\n", kind, strings.Join(types, ", "), strings.Join(authors, ", "))
		}
	}
	file := "postern: classifier/v1\n" + section("include", include.String()) + section("labels", labels.String()) + section("notes", notes.String())
	return consent.LoadClassifier(writeFile(t, folder, "classifier.yaml", file), dayOf(s.asOf).From)
}

func section(key, lines string) string {
	if lines == "" {
		return ""
	}
	return key + ":\n" + lines
}

func valueSet(entries []string) string {
	var codes, prefixes, ranges []string
	for _, entry := range entries {
		switch {
		case strings.Contains(entry, ".."):
			ranges = append(ranges, entry)
		case strings.HasSuffix(entry, "*"):
			prefixes = append(prefixes, strings.TrimSuffix(entry, "*"))
		default:
			codes = append(codes, fmt.Sprintf("%q", entry))
		}
	}
	set := "postern: value-set/v1\ntitle: codes of a case\nsource: invented\nlicence: none needed\nsystem: urn:case\neffective: {from: 2020-01-01, to: open}\n"
	for key, list := range map[string][]string{"codes": codes, "prefixes": prefixes, "ranges": ranges} {
		if len(list) > 0 {
			set += key + ": [" + strings.Join(list, ", ") + "]\n"
		}
	}
	return set
}

// ndjson is a file of a FHIR source.
func ndjson(path string, size int) extract.File {
	return extract.File{Name: "source.ndjson", Path: path, Size: int64(size), Rule: &extract.FileRule{Format: extract.FHIRNDJSON}}
}
