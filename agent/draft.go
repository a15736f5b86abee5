package agent

import (
	"context"
	"errors"
	"os"

	"github.com/posternhealth/postern/agent/policytest"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// DraftCase writes a case of an exchange's policy from its source, or another
// folder laid like it: few records, which a dry run treated differently, with
// every value replaced. A file that is there is not overwritten.
func (a *Agent) DraftCase(ctx context.Context, exchange, folder, file string, opt RunOptions) error {
	if _, err := os.Lstat(file); !errors.Is(err, os.ErrNotExist) {
		return fail(Usage, err, "name a file that is not there yet", "%s is not overwritten", file)
	}
	x, err := a.load(exchange)
	if err != nil {
		return err
	}
	x.readFrom(folder)
	opt.DryRun = true
	r := a.newRun(x, opt)
	var reasons []extract.Reason
	r.observe = func(n int64, _ consent.Subject, reason extract.Reason) {
		for range n {
			reasons = append(reasons, reason)
		}
	}
	err = r.execute(ctx)
	if err = errors.Join(err, r.clean(err != nil)); err != nil {
		return err
	}
	draft := policytest.Draft{Policy: x.policy, Schemas: x.schemas, Files: r.built.Files,
		Reasons: reasons, AsOf: r.opt.AsOf, DecidedAt: r.opt.DecidedAt}
	request := r.request()
	draft.Recipient = append([]string{x.recipient.Kind}, x.recipient.Identifiers...)
	draft.Clinic, draft.Others = request.Self, request.Others
	for _, name := range r.inputNames() {
		in := a.Config.Inputs[name]
		draft.Inputs = append(draft.Inputs, policytest.DraftInput{Name: name, Kind: policyKinds[in.Kind], File: a.Config.Path(in.File), FHIR: in.Kind == FHIRConsentInput})
	}
	return draft.Write(ctx, file)
}
