package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/transfer"
)

// doctor looks at what only shows itself alive, and says how to mend it.
func doctor(k *call) error {
	return k.on(0, 1, func(a *agent.Agent) error {
		list, err := a.Doctor(k.ctx, k.arg(0))
		err = show(k, func(list []agent.Diagnosis) error {
			for i, d := range list {
				showDiagnosis(k.out, i, d)
			}
			return nil
		})(list, err)
		return ends(agent.AnsweredNo, slices.ContainsFunc(list, func(d agent.Diagnosis) bool { return len(d.Faults) > 0 }), err)
	})
}

func showDiagnosis(out io.Writer, i int, d agent.Diagnosis) {
	if i > 0 {
		fmt.Fprintln(out)
	}
	fmt.Fprintln(out, d.Of+":")
	if d.Profile != "" {
		fmt.Fprint(out, page.Wrap("profile "+d.Profile, "  ", "    "))
	}
	if d.Plan != nil {
		showPlan(out, d.Plan)
	}
	for _, fault := range d.Faults {
		fmt.Fprint(out, page.Wrap("fault: "+fault, "  ", "    "))
	}
	for _, advice := range d.Advice {
		fmt.Fprint(out, page.Wrap(advice, "  - ", "    "))
	}
	if len(d.Faults)+len(d.Advice) == 0 {
		fmt.Fprintln(out, "  in order")
	}
}

// showPlan tells what a server allows and how it is used therefore.
func showPlan(out io.Writer, p *transfer.Plan) {
	fmt.Fprintf(out, "  %s, %s %s\n", p.Where, p.Server, p.HostKey)
	var allowed, refused []string
	for _, a := range p.Abilities {
		if a.Allowed {
			allowed = append(allowed, a.Name)
		} else {
			refused = append(refused, a.Name+" ("+a.Why+")")
		}
	}
	fmt.Fprint(out, page.Wrap("allowed: "+strings.Join(allowed, ", "), "  ", "    "))
	if len(refused) > 0 {
		fmt.Fprint(out, page.Wrap("not: "+strings.Join(refused, ", "), "  ", "    "))
	}
	fmt.Fprint(out, page.Wrap("delivery: "+p.Method(), "  ", "    "))
}
