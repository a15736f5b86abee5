package agent

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/policies/explain"
)

// Explain is the page of a policy. Of one that an exchange carries out it also
// says what the configuration forces: to whom it is sent, when, and who
// approves it. The approval is nil when it cannot be told.
func (at *PolicyAt) Explain(approval *Approval) (*explain.Page, error) {
	page, err := explain.Of(at.Policy, at.Env)
	if err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	if at.Exchange == "" {
		return page, nil
	}
	e, err := at.Config.Exchange(at.Exchange)
	if err != nil {
		return nil, err
	}
	page.Sections = append(page.Sections, at.Config.sending(at.Exchange, e))
	if approval != nil {
		page.Sections = append(page.Sections, approval.section(at.Config.File))
	}
	return page, nil
}

// sending says to whom an exchange sends, and when.
func (c *Config) sending(name string, e ExchangeConfig) explain.Section {
	s := explain.Section{Heading: "To whom it is sent, and when"}
	say := func(text, path string) {
		s.Sentences = append(s.Sentences, explain.Sentence{Text: text, Clauses: []string{c.File + ": " + path}})
	}
	r, at := c.Recipients[e.Recipient], "recipients."+e.Recipient
	who := r.Name
	if r.Address != "" {
		who += ", " + r.Address
	}
	say(fmt.Sprintf("%s is %s.", e.Recipient, who), at+".name")
	if len(r.EncryptTo) == 1 {
		say("One key of theirs opens what is sent.", at+".encrypt_to")
	} else {
		say(fmt.Sprintf("Any of %d keys of theirs opens what is sent.", len(r.EncryptTo)), at+".encrypt_to")
	}
	if r.Bare != nil {
		markers := ""
		if r.Bare.Marker != "" {
			markers = fmt.Sprintf(", empty ones, called %s, that tell when all is there", r.Bare.Marker)
		}
		say(fmt.Sprintf("They get one file of each dataset, called %s%s, and nothing else.", r.Bare.Name, markers), at+".bare.name")
	}
	if r.Receipt.Mode == "signed" {
		say("They answer with a signed receipt.", at+".receipt.mode")
	} else {
		say("They send no receipt.", at+".receipt.mode")
	}
	say(scheduleWords(e.Schedule), "exchanges."+name+".schedule")
	return s
}

// scheduleWords reads a schedule of five fields aloud, as far as it is a plain
// one.
func scheduleWords(line string) string {
	f := strings.Fields(line)
	if len(f) == 0 {
		return "It is sent when somebody runs it by hand."
	}
	plain := len(f) == 5 && f[3] == "*"
	var n [5]int
	for i := range min(len(f), 5) {
		var err error
		if n[i], err = strconv.Atoi(f[i]); err != nil && (f[i] != "*" || i < 2) {
			plain = false
		}
	}
	if !plain || f[2] != "*" && f[4] != "*" {
		return fmt.Sprintf("It is sent on the schedule %q (minute, hour, day, month, weekday).", line)
	}
	day := "every day"
	switch {
	case f[2] != "*":
		day = fmt.Sprintf("on day %d of every month", n[2])
	case f[4] != "*":
		day = "every " + time.Weekday(n[4]%7).String()
	}
	return fmt.Sprintf("It is sent %s, at %02d:%02d.", day, n[1], n[0])
}

// section says who has approved an exchange as it stands, or has to.
func (p *Approval) section(file string) explain.Section {
	s := explain.Section{Heading: "Who approves it"}
	add := func(text string, toCopy bool) {
		s.Sentences = append(s.Sentences, explain.Sentence{Text: text, ToCopy: toCopy, Clauses: []string{file + ": approvers"}})
	}
	say := func(text string) { add(text, false) }
	if p.Approved {
		say(fmt.Sprintf("It is approved as it stands (approval %d).", p.Number))
		return s
	}
	say(fmt.Sprintf("It is not approved as it stands, and until it is, nothing leaves. Needed: %d, because %s.", p.Needed, p.Why))
	if len(p.May) > 0 {
		say("May sign: " + strings.Join(p.May, "; ") + ".")
	}
	if len(p.Signed) > 0 {
		say("Have signed: " + strings.Join(p.Signed, "; ") + ".")
	}
	say("Each signs this line, alone in a file, on a computer of their own; it stands for everything that the exchange rests on:")
	add(p.Statement, true)
	say("With the line in the file statement.txt and one's private key in the file KEY, this signs it and writes statement.txt.sig:")
	add("ssh-keygen -Y sign -n "+approvalNamespace+" -f KEY statement.txt", true)
	say("The clinic takes each signature in:")
	add("postern policy approve "+p.Exchange+" --signature statement.txt.sig", true)
	return s
}

// ListedPolicy is the policy of an exchange, in one line.
type ListedPolicy struct {
	Exchange string `json:"exchange"`
	Policy   string `json:"policy,omitempty"`
	Version  int    `json:"version,omitempty"`
	Standard string `json:"standard,omitempty"`
	Digest   string `json:"digest,omitempty"` // of the policy and what it includes
	State    string `json:"state"`            // approved, what is awaited, or why it cannot be told
}

// ListPolicies tells of every exchange under which policy it stands. Without
// an agent, when the clinic's state cannot be opened, it tells no approvals.
func ListPolicies(ctx context.Context, configFile string, a *Agent) ([]ListedPolicy, error) {
	c, _, err := readConfig(configFile, strictyaml.Drafts)
	if err != nil {
		return nil, err
	}
	var list []ListedPolicy
	for _, name := range c.exchangeNames() {
		l := ListedPolicy{Exchange: name, State: "approval unknown"}
		at, err := PolicyOf(configFile, name)
		if err == nil {
			p := at.Policy
			l.Policy, l.Version, l.Standard, l.Digest = p.Name, p.Version, string(p.Standard), p.Digest()
			_, err = policies.Check(p, at.Env)
		}
		var mistakes *strictyaml.Errors
		if errors.As(err, &mistakes) && mistakes.Only(policies.ErrPlaceholder) {
			l.State = fmt.Sprintf("draft: %d values to fill in", len(mistakes.List))
		} else if err != nil {
			l.State = "refused: see postern policy check " + name
		} else if a != nil {
			approval, err := a.Approval(ctx, name)
			if err != nil {
				return nil, err
			}
			l.State = approval.String()
		}
		list = append(list, l)
	}
	return list, nil
}
