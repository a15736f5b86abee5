package consent_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/extract"
)

// decided is what this engine can be asked for beyond the plain case; what a
// case needs besides is for later versions, and counted as such.
var decided = []string{"fhir-r5", "most-recent", "merges", "derived", "classifier", "minors", "other-grounds"}

// The engine answers every case of the public suite as the rules say.
func TestEngineOnPublicCases(t *testing.T) {
	awaiting := map[string]int{}
	for _, s := range loadSuite(t) {
		if missing := slices.DeleteFunc(slices.Clone(s.needs), func(n string) bool { return slices.Contains(decided, n) }); len(missing) > 0 {
			awaiting[missing[0]]++
			continue
		}
		t.Run(s.file+"/"+s.name, func(t *testing.T) {
			wrong := engineAnswers(t, s)
			if len(wrong) > 0 {
				t.Error(strings.Join(wrong, "\n"))
			}
		})
	}
	t.Logf("cases that the exported engine cannot be asked yet: %v", awaiting)
}

// engineAnswers tells where the engine differs from what a case expects.
func engineAnswers(t *testing.T, s *situation) (wrong []string) {
	e := newEngine(t, s)
	if e.stopped != s.stops {
		return []string{fmt.Sprintf("stopped at %q, should be %q: %v", e.stopped, s.stops, e.why)}
	}
	if e.stopped != "" {
		return nil
	}
	for i, got := range e.decideAll(t, s) {
		r := &s.records[i]
		want := s.expected(r.id)
		if want == nil {
			continue
		}
		if effect := e.decider.Effect(got); string(effect) != want.effect {
			wrong = append(wrong, fmt.Sprintf("record %s: %s, should be %s", r.id, effect, want.effect))
		}
		if names := reasonsOf(want.reasons); got.Reasons.Names() != names {
			wrong = append(wrong, fmt.Sprintf("record %s: reasons [%s], should be [%s]", r.id, got.Reasons.Names(), names))
		}
		if want.part2 != "" && got.Part2 != (want.part2 == "yes") {
			wrong = append(wrong, fmt.Sprintf("record %s: part 2: %v, should be %s", r.id, got.Part2, want.part2))
		}
	}
	return wrong
}

func (s *situation) expected(id string) *verdict {
	for i := range s.expect {
		if s.expect[i].record == id {
			return &s.expect[i]
		}
	}
	return nil
}

// reasonsOf names reasons in decision order, as a ReasonSet prints them.
func reasonsOf(names []string) string {
	var set extract.ReasonSet
	for _, name := range names {
		r := reasonNamed(name)
		if r == extract.NoReason {
			return "unknown reason " + name
		}
		set = set.With(r)
	}
	return set.Names()
}

func reasonNamed(name string) extract.Reason {
	for r := extract.NoReason + 1; int(r) < extract.Reasons; r++ {
		if r.String() == name {
			return r
		}
	}
	return extract.NoReason
}

// Every expectation of the suite is one that can be: a known effect, known
// reasons, and an effect that the reasons bear out.
func TestCasesAreConsistent(t *testing.T) {
	for _, s := range loadSuite(t) {
		if (s.stops == "") == (len(s.expect) == 0) || s.stops == "" && len(s.expect) != len(s.records) {
			t.Errorf("%s: %s: one expectation for each record, or what stops", s.file, s.name)
		}
		for _, v := range s.expect {
			if !slices.ContainsFunc(s.records, func(r record) bool { return r.id == v.record }) {
				t.Errorf("%s: %s: there is no record %s", s.file, s.name, v.record)
			}
			ok := v.effect == effectOf(v.reasons) || v.effect == "not-applicable" && len(v.reasons) == 0
			if !ok || strings.HasPrefix(reasonsOf(v.reasons), "unknown") {
				t.Errorf("%s: %s: record %s: %s because of %v", s.file, s.name, v.record, v.effect, v.reasons)
			}
		}
	}
}

// doubts are the reasons that say no because nobody can tell.
var doubts = []string{"restriction-indeterminate", "member-ambiguous", "consent-indeterminate", "merge-unresolved"}

func effectOf(reasons []string) string {
	effect := "permit"
	for _, r := range reasons {
		if !slices.Contains(doubts, r) {
			return "deny"
		}
		effect = "indeterminate"
	}
	return effect
}

// The second opinion holds the suite, and so reads the rules as the suite does.
func TestSecondOpinionOnPublicCases(t *testing.T) {
	for _, s := range loadSuite(t) {
		if s.stops != "" {
			continue
		}
		for i, o := range s.opinions() {
			r, want := &s.records[i], s.expected(s.records[i].id)
			if got := reasonsOf(o.names()); got != reasonsOf(want.reasons) || o.effect != want.effect {
				t.Errorf("%s: %s: record %s: %s [%s], should be %s %v", s.file, s.name, r.id, o.effect, got, want.effect, want.reasons)
			}
			if want.part2 != "" && o.part2 != (want.part2 == "yes") {
				t.Errorf("%s: %s: record %s: part 2: %v", s.file, s.name, r.id, o.part2)
			}
		}
	}
}
