package policies

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// MinorRules are the rules of one jurisdiction about minors who control the
// release of their own records. 45 CFR 164.502(g)(3) leaves the matter to the
// states.
type MinorRules struct {
	Majority int // the age of it, in years
	Rules    []MinorRule
}

// MinorRule says of which care a minor controls the release.
type MinorRule struct {
	FromAge, ToAge int         // whole years on the day of service, both included
	Labels         []string    // sensitivity labels of HL7 v3 ActCode, any of which the care bears
	From, To       extract.Day // days of service, both included; NoDay when open
	Both           bool        // the minor and the guardian together
	Source         string      // where the rule is written
}

// minorRulesFile is the shape of a file of rules.
type minorRulesFile struct {
	Postern      string          `yaml:"postern,required" words:"minor-rules/v1" why:"this version of Postern reads minor-rules/v1" about:"the language and its version"`
	Jurisdiction string          `yaml:"jurisdiction,required" about:"whose rules they are, such as us-ca"`
	Majority     int             `yaml:"majority" about:"the age of majority in years; 18 when it is not written"`
	Rules        []minorRuleFile `yaml:"rules,required"`
}

type minorRuleFile struct {
	FromAge int             `yaml:"from_age,required" about:"whole years on the day of service"`
	ToAge   int             `yaml:"to_age,required" about:"the last age that the rule holds at"`
	Labels  []string        `yaml:"labels,required" words:"BH|COGN|DVD|EMOTDIS|MH|PSY|PSYTHPN|SUD|ETH|ETHUD|OPIOIDUD|42CFRPart2|HIV|STD|SEX|SDV|GDIS|MST|PREGNANT|SCA|TBOO|VIO|SICKLE" about:"the care that it is about, and what is under it"`
	From    strictyaml.Date `yaml:"from,required" about:"the first day of service that it holds for, or open"`
	To      strictyaml.Date `yaml:"to,required" about:"the last one, or open"`
	Control string          `yaml:"control,required" words:"minor|both" about:"who controls the release: the minor, or the minor and the guardian together"`
	Source  string          `yaml:"source,required" about:"where the rule is written"`
	Checked struct {
		By string          `yaml:"by,required"`
		On strictyaml.Date `yaml:"on,required"`
	} `yaml:"checked,required" about:"who has held the rule against its source, and when"`
}

// minors reads the rules that the policy names: minors/NAME.yaml beside it.
func (r *reading) minors() {
	const path = "people.consent.minors.rules"
	name := r.policy.People.Minors
	if !r.source.Has(path) || r.said(path) || !r.jurisdiction(path, name) {
		return
	}
	file := "minors/" + name + ".yaml"
	data, ok := r.read(path, file)
	if !ok {
		return
	}
	var f minorRulesFile
	source, _ := strictyaml.Decode(filepath.Join(filepath.Dir(r.policy.File), filepath.FromSlash(file)), data, &f, strictyaml.Drafts)
	in := newReading(source, nil)
	r.policy.People.MinorRules = in.minorRules(&f, name)
	r.errs.Join(in.errs)
	r.policy.unfilled = append(r.policy.unfilled, source.Placeholders()...)
}

func (in *reading) minorRules(f *minorRulesFile, name string) *MinorRules {
	rules := &MinorRules{Majority: 18}
	if in.source.Has("majority") {
		rules.Majority = f.Majority
	}
	in.must(f.Jurisdiction == name, "jurisdiction", "name the file as the jurisdiction", "the rules of %q stand in the file of %s", f.Jurisdiction, name)
	in.must(rules.Majority >= 18 && rules.Majority <= 21, "majority", "write it in years, such as 18", "%d is no age of majority", rules.Majority)
	in.must(len(f.Rules) > 0, "rules", "remove minors: from the policy, if there are none", "there is no rule")
	for i := range f.Rules {
		rules.Rules = append(rules.Rules, in.minorRule(&f.Rules[i], fmt.Sprintf("rules[%d]", i)))
	}
	return rules
}

func (in *reading) minorRule(f *minorRuleFile, path string) MinorRule {
	rule := MinorRule{FromAge: f.FromAge, ToAge: f.ToAge, Labels: f.Labels, Both: f.Control == "both", Source: f.Source, From: extract.NoDay, To: extract.NoDay}
	if !f.From.Open {
		rule.From = in.date(path+".from", f.From)
	}
	if !f.To.Open {
		rule.To = in.date(path+".to", f.To)
	}
	in.must(rule.To >= rule.From || rule.To == extract.NoDay, path+".to", "", "the rule ends before it begins")
	in.must(f.FromAge >= 0, path+".from_age", "", "an age is 0 or more")
	in.must(f.ToAge >= f.FromAge, path+".to_age", "", "the last age lies before the first")
	in.must(len(f.Labels) > 0 || in.broken[path+".labels[0]"], path+".labels", "name a sensitivity label, such as PSY", "the rule is about no care")
	in.text(path+".source", f.Source)
	in.text(path+".checked.by", f.Checked.By)
	in.date(path+".checked.on", f.Checked.On)
	return rule
}

// covers tells whether this rule keeps back whatever the other does.
func (m *MinorRule) covers(other *MinorRule) bool {
	return m.FromAge <= other.FromAge && m.ToAge >= other.ToAge && m.From <= other.From &&
		(m.To == extract.NoDay || other.To != extract.NoDay && m.To >= other.To) && (m.Both || !other.Both) &&
		!slices.ContainsFunc(other.Labels, func(label string) bool { return !slices.Contains(m.Labels, label) })
}

// String says what the rule keeps back.
func (m *MinorRule) String() string {
	return m.care() + ", unless " + map[bool]string{false: "the minor has", true: "the minor and the guardian have"}[m.Both] + " signed a permit"
}

// care says of whom and what the rule is about.
func (m *MinorRule) care() string {
	text := fmt.Sprintf("care labelled %s at %d to %d years", strings.Join(m.Labels, ", "), m.FromAge, m.ToAge)
	if m.From != extract.NoDay {
		text += ", from " + m.From.String()
	}
	if m.To != extract.NoDay {
		text += ", to " + m.To.String()
	}
	return text
}

// minority is one way in which a person's being a minor keeps a record back: by a
// rule, or because the person has come of age and what permits it was signed by a
// guardian.
type minority struct {
	says     string
	rule     *MinorRule // nil of coming of age, and of rules that were not loaded
	majority int        // of the rules; 0 of some that were not loaded
}

// minorities are the ways of two policies to keep records of minors back, none
// first.
func minorities(a, b *People) []minority {
	list := []minority{{}}
	for _, p := range []*People{a, b} {
		switch rules := p.MinorRules; {
		case rules != nil:
			for i := range rules.Rules {
				list = append(list, minority{"a minor controls " + rules.Rules[i].String(), &rules.Rules[i], rules.Majority})
			}
			list = append(list, minority{fmt.Sprintf("the person is %d years old, and a guardian has signed what the person permits", rules.Majority), nil, rules.Majority})
		case p.Minors != "":
			list = append(list, minority{says: p.Minors})
		}
	}
	return list
}

// controlled tells whether a record of a minor stays until the minor signs. A
// rule that only several others cover together counts as a new one, so that a
// comparison may find one widening too many, and never one too few. At majority
// the guardian's signature is asked for no more.
func (p *People) controlled(m minority) bool {
	switch rules := p.MinorRules; {
	case m.rule != nil && rules != nil:
		return (!m.rule.Both || rules.Majority >= m.majority) &&
			slices.ContainsFunc(rules.Rules, func(own MinorRule) bool { return own.covers(m.rule) })
	case m.rule != nil, m.majority > 0:
		return false
	}
	return m.says != "" && m.says == p.Minors
}

// overAtMajority tells whether what the person permits was signed by a guardian
// whose say is over.
func (p *People) overAtMajority(m minority) bool {
	return m.rule == nil && m.majority > 0 && p.MinorRules != nil && p.MinorRules.Majority <= m.majority
}

// withoutPermits is the situation without all that permits in what the person
// decided.
func (s *Situation) withoutPermits() *Situation {
	left := *s
	left.Part2Form = ""
	left.Directive = map[string]string{changed: refused, refused: refused, unsure: unsure}[s.Directive]
	return &left
}
