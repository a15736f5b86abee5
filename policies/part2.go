package policies

import (
	"fmt"
	"slices"
	"strings"

	"github.com/posternhealth/postern/extract"
)

// Part2Ground is a ground other than consent on which records under 42 CFR
// Part 2 may leave. It stands for the consent of 2.31 and for nothing else.
type Part2Ground struct {
	Section  string      // of 42 CFR: 2.12(c)(4), 2.52, 2.53
	Paper    string      // the id of the agreement or approval that the officer has on file
	From     extract.Day // of the paper
	To       extract.Day // its last day; NoDay where it has none, and then a review
	ReviewBy extract.Day // after it, it is none until it was reviewed; NoDay: not asked for
}

// sectionsOfPart2 are the sections that a policy may name: to which kinds of
// recipient, and for which purposes and those under them, records go on them.
var sectionsOfPart2 = []struct {
	section, what      string
	recipients, within []string
}{
	{"2.12(c)(4)", "a qualified service organization", []string{"vendor", "clearinghouse"}, []string{"HOPERAT"}},
	{"2.52", "research", []string{"researcher"}, []string{"HRESCH"}},
	{"2.53", "an audit or evaluation", []string{"oversight", "health-plan"}, []string{"HOPERAT", "HPAYMT"}},
}

// What tells in words what the section is about.
func (g *Part2Ground) What() string {
	for _, s := range sectionsOfPart2 {
		if s.section == g.Section {
			return s.what
		}
	}
	return "42 CFR " + g.Section
}

// Explained says what the ground is, for whoever receives records on it.
func (g *Part2Ground) Explained() string {
	return fmt.Sprintf("ground: 42 CFR %s, %s\npaper: %s\nin force from: %s\nin force until: %s", g.Section, g.What(), g.Paper, g.From, g.term().To)
}

// refuses tells why nothing goes to a kind of recipient for a purpose on the
// ground; "" when something may. An empty kind is not asked about.
func (g *Part2Ground) refuses(kind, purpose string) string {
	for _, s := range sectionsOfPart2 {
		switch {
		case s.section != g.Section:
		case !slices.ContainsFunc(s.within, func(wider string) bool { return PurposeWithin(purpose, wider) }):
			return fmt.Sprintf("42 CFR %s (%s) covers the purpose %s and what is under it, not %s", s.section, s.what, strings.Join(s.within, " or "), purpose)
		case kind != "" && !slices.Contains(s.recipients, kind):
			return fmt.Sprintf("42 CFR %s (%s) lets records go to a recipient of kind %s, not %s", s.section, s.what, strings.Join(s.recipients, " or "), kind)
		default:
			return ""
		}
	}
	return "42 CFR " + g.Section + " is no ground"
}

// term are the days on which the paper holds. One without an end or a review
// never does.
func (g *Part2Ground) term() extract.Span {
	to := g.To
	if to == extract.NoDay || g.ReviewBy != extract.NoDay && g.ReviewBy < to {
		to = g.ReviewBy
	}
	return extract.Span{From: g.From, To: to}
}

// Part2Ground is the first ground other than consent that is in force on a day
// and lets records go to a recipient of this kind for the policy's purpose; nil
// when there is none.
func (p *Policy) Part2Ground(kind string, day extract.Day) *Part2Ground {
	for i := range p.People.Grounds {
		g := &p.People.Grounds[i]
		if t := g.term(); g.From != extract.NoDay && t.From <= day && day <= t.To && g.refuses(kind, p.Purpose) == "" {
			return g
		}
	}
	return nil
}

// groundsInWords names sections and papers.
func (p *Policy) groundsInWords() string {
	var all []string
	for i := range p.People.Grounds {
		g := &p.People.Grounds[i]
		all = append(all, fmt.Sprintf("42 CFR %s (%s)", g.Section, g.Paper))
	}
	return strings.Join(all, ", or ")
}

// onDaysOfGrounds has a dimension tried on each day that the grounds of either
// view tell from others, of those days on which both policies are in force: on
// the others, the day of the run says all there is to say.
func onDaysOfGrounds(a, b *view, d dimension) dimension {
	var days []extract.Day
	for _, v := range []*view{a, b} {
		for i := range v.People.Grounds {
			days = append(days, around(v.People.Grounds[i].term())...)
		}
	}
	if days == nil {
		return d
	}
	for _, t := range slices.Concat(a.terms(), b.terms()) {
		days = append(days, around(t)...)
	}
	days = slices.DeleteFunc(nearest(append(days, b.today), b.today), func(day extract.Day) bool { return !a.inForce(day) || !b.inForce(day) })
	each := d.each
	d.each = func(s *Situation, try func() bool) {
		done, day := false, s.DecidedOn
		for _, s.DecidedOn = range days {
			if each(s, func() bool { done = try(); return done }); done {
				return
			}
		}
		if s.DecidedOn = day; len(days) == 0 {
			each(s, try)
		}
	}
	return d
}

const groundsPath = "people.consent.part2.grounds"

// grounds reads the grounds, and refuses what the law does.
func (r *reading) grounds() {
	for i, f := range r.file.People.Consent.Part2.Grounds {
		path := fmt.Sprintf("%s[%d]", groundsPath, i)
		g := Part2Ground{Section: f.Section, Paper: f.Paper,
			From: r.date(path+".from", f.From), To: r.date(path+".to", f.To), ReviewBy: r.date(path+".review_by", f.ReviewBy)}
		r.text(path+".paper", f.Paper)
		r.must(g.To != extract.NoDay || g.ReviewBy != extract.NoDay || r.broken[path+".to"] || r.broken[path+".review_by"], path, "add to: with the last day of the paper, or review_by:",
			"a ground needs an end, or a day by which it is reviewed")
		r.must(g.From <= g.term().To || g.term().To == extract.NoDay, path+".from", "", "the ground ends before it begins")
		r.policy.People.Grounds = append(r.policy.People.Grounds, g)
	}
}

// part2Grounds refuses grounds on which nothing goes to this recipient for this
// purpose.
func (c *checking) part2Grounds() {
	kind := c.env.Recipients[c.Recipient]
	for i := range c.People.Grounds {
		path := fmt.Sprintf("%s[%d].section", groundsPath, i)
		if why := c.People.Grounds[i].refuses(kind, c.Purpose); why != "" && KnownPurpose(c.Purpose) {
			c.add(path, "name a ground for this recipient, or rely on consent (42 CFR 2.31)", "%s", why)
		}
	}
}
