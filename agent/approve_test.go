package agent_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/synthetic"
)

const (
	ana      = "privacy-officer" // the files of the approvers' keys
	ben      = "medical-director"
	stranger = "stranger"

	scoresPolicy = "policies/acme-scores.yaml"
	valueSet     = "policies/sets/instruments.yaml"
)

// openssh runs the program of which approvers have their keys.
func (h *house) openssh(args ...string) string {
	h.t.Helper()
	program, err := exec.LookPath("ssh-keygen")
	sharedPeer(h.t, "ssh-keygen", err == nil)
	out, err := exec.Command(program, args...).CombinedOutput()
	if err != nil {
		h.t.Fatalf("ssh-keygen: %v: %s", err, out)
	}
	return string(out)
}

// opensshSigns signs a text as an approver does.
func (h *house) opensshSigns(key, namespace, text string) []byte {
	h.t.Helper()
	file := filepath.Join(h.t.TempDir(), "statement")
	h.must(os.WriteFile(file, []byte(text), 0o600))
	h.openssh("-q", "-Y", "sign", "-n", namespace, "-f", filepath.Join(h.world.ApproverKeys(), key), file)
	signature, err := os.ReadFile(file + ".sig")
	h.must(err)
	return signature
}

// approval is where scores stands with its approvers.
func (h *house) approval() *agent.Approval {
	h.t.Helper()
	p, err := h.agent.Approval(context.Background(), scores)
	h.must(err)
	return p
}

// signed takes the signatures of keys in, on the statement of now.
func (h *house) signed(keys ...string) (*agent.Approval, error) {
	h.t.Helper()
	var list [][]byte
	for _, key := range keys {
		list = append(list, h.opensshSigns(key, "postern-policy", h.approval().Statement+"\n"))
	}
	return h.agent.Approve(context.Background(), scores, list)
}

// edit replaces what stands in a file exactly once, and opens the clinic anew.
func (h *house) edit(name, old, new string) {
	h.t.Helper()
	text := h.read(name)
	if strings.Count(text, old) != 1 {
		h.t.Fatalf("%q stands %d times in %s", old, strings.Count(text, old), name)
	}
	h.write(name, strings.Replace(text, old, new, 1))
	h.open(hclog.NewNullLogger())
}

// newKey makes a key in the approvers' folder and gives its public line.
func (h *house) newKey(name string) string {
	h.t.Helper()
	private, public, err := sshsig.NewKey(name)
	h.must(err)
	h.must(os.WriteFile(filepath.Join(h.world.ApproverKeys(), name), private, 0o600))
	return strings.TrimSpace(string(public))
}

// on moves the clinic, with its inputs exported anew, to another day.
func (h *house) on(day string) {
	h.t.Helper()
	at, err := time.Parse(time.DateOnly, day)
	h.must(err)
	at = at.Add(12 * time.Hour)
	files, err := filepath.Glob(filepath.Join(h.dir, "inputs", "*"))
	h.must(err)
	for _, f := range files {
		h.must(os.Chtimes(f, at, at.Add(-time.Hour)))
	}
	h.agent.Now = func() time.Time { return at }
}

// approvedClinic has the scores approved, with a value set, and a drop of them
// that waits for delivery.
func approvedClinic(t *testing.T) *house {
	h := build(t, synthetic.Options{Patients: 20})
	h.must(os.MkdirAll(filepath.Join(h.dir, "policies", "sets"), 0o700))
	h.write(valueSet, "postern: value-set/v1\ntitle: instruments\nsource: LOINC\nlicence: LOINC License\neffective: {from: 2026-01-01, to: open}\ncodes: [44261-6, 70274-6]\n")
	text := h.read(scoresPolicy)
	text = strings.Replace(text, "[44261-6, 70274-6, 75626-2]", "{in: instruments}", 1)
	h.write(scoresPolicy, strings.Replace(text, "people:", "include: {instruments: sets/instruments.yaml}\npeople:", 1))
	h.newKey(stranger)
	h.run(scores, agent.RunOptions{})
	return h
}

// sendsNothing: neither a run nor the delivery of what waits, each with 13 and
// the part that is not approved; and a plan still works.
func (h *house) sendsNothing(exchange, part string) {
	h.t.Helper()
	ctx := context.Background()
	before := h.query(`SELECT count(*) || state FROM delivery`)
	_, err := h.agent.Run(ctx, exchange, agent.RunOptions{AsOf: demo.AsOf()})
	_, undelivered := h.agent.Deliver(ctx, exchange)
	for _, err := range []error{err, undelivered} {
		if classOf(err) != agent.PolicyRefused || !strings.Contains(fmt.Sprint(err), part) {
			h.t.Errorf("%s: %v", part, err)
		}
	}
	if after := h.query(`SELECT count(*) || state FROM delivery`); after != before {
		h.t.Errorf("the drops were %s and are %s", before, after)
	}
	if names, _ := filepath.Glob(filepath.Join(h.recipient(exchange).Inbox(), "*")); len(names) > 0 {
		h.t.Errorf("the recipient has %v", names)
	}
	if _, err := h.agent.Run(ctx, exchange, agent.RunOptions{AsOf: demo.AsOf(), DryRun: true}); err != nil {
		h.t.Errorf("plan: %v", err)
	}
	list, err := h.agent.Status(ctx)
	h.must(err)
	for _, s := range list {
		if s.Exchange == exchange && s.Approval == "approved" {
			h.t.Error("status says that it is approved")
		}
	}
}

// What was swapped after the approval stops the exchange and is named.
func TestSwappedPartSendsNothing(t *testing.T) {
	t.Parallel()
	base := approvedClinic(t)
	plan, registry := base.world.Recipient(synthetic.HealthPlan), base.world.Recipient(synthetic.Registry)
	for part, swap := range map[string]func(h *house){
		"recipient's encryption keys: " + plan.EncryptTo: func(h *house) { h.edit("postern.yaml", plan.EncryptTo, registry.EncryptTo) },
		"host key: SHA256:":              func(h *house) { h.edit("postern.yaml", plan.HostKey, registry.HostKey) },
		"destination: port " + plan.Port: func(h *house) { h.edit("postern.yaml", "port: "+plan.Port, "port: "+registry.Port) },
		"receipt key: SHA256:":           func(h *house) { h.edit("postern.yaml", plan.ReceiptKey, registry.ReceiptKey) },
		"recipient: nothing more → identifier Organization/other": func(h *house) {
			h.edit("postern.yaml", "identifiers: [Organization/"+plan.Name+"]", "identifiers: [Organization/"+plan.Name+", Organization/other]")
		},
		"input consents: file inputs/consents.csv → file inputs/empty.csv": func(h *house) {
			h.write("inputs/empty.csv", h.read(consentsCSV))
			h.edit("postern.yaml", "file: inputs/consents.csv", "file: inputs/empty.csv")
		},
		"input restrictions: shrink limit 0% → shrink limit 100%": func(h *house) {
			h.edit("postern.yaml", "inputs/restrictions.csv, max_age: 1 day, shrink_limit: 0%", "inputs/restrictions.csv, max_age: 1 day, shrink_limit: 100%")
		},
		"input consents-fhir: ": func(h *house) {
			h.edit("postern.yaml", "  consents-fhir: {kind: fhir-consents, file: inputs/consents.ndjson, max_age: 1 day, shrink_limit: 1%}\n", "")
		},
		"organizations: nothing more → other somebody": func(h *house) {
			h.edit("postern.yaml", "approvers:", "other_organizations: [somebody]\napprovers:")
		},
		"organizations: nothing more → record number MRN-999999": func(h *house) {
			h.edit("postern.yaml", "\n  time_zone:", "\n  record_numbers: [MRN-999999]\n  time_zone:")
		},
		"include sets/instruments.yaml: ": func(h *house) { h.edit(valueSet, "70274-6]", "70274-6, 75626-2]") },
		"include texts/part2-notice.txt: ": func(h *house) {
			h.add("policies/texts/part2-notice.txt", "One line more.")
			h.open(hclog.NewNullLogger())
		},
		"schema scores: ": func(h *house) {
			h.edit("schemas/scores.json", h.read("schemas/scores.json"), h.read("schemas/scores.json")+"\n")
		},
		"policy: ": func(h *house) { h.edit(scoresPolicy, "version: 1", "version: 2") },
		"source: ": func(h *house) { h.edit("postern.yaml", `"scores/*.csv"`, `"scores/s*.csv"`) },
		"approvers: ": func(h *house) {
			h.edit("postern.yaml", "approvers:", "approvers:\n  - {name: Eve, key: "+h.newKey("eve")+"}")
		},
		"archive key: ": func(h *house) {
			another, err := age.GenerateX25519Identity()
			h.must(err)
			h.edit("postern.yaml", "archive: age1", "archive: "+another.Recipient().String()+" # age1")
		},
		"signing key: ": func(h *house) {
			private, _, err := sshsig.NewKey("another")
			h.must(err)
			h.write("keys/drop-signing", string(private))
			h.open(hclog.NewNullLogger())
		},
		"checkpoint key: ": func(h *house) {
			private, _, err := sshsig.NewKey("another")
			h.must(err)
			h.write("keys/checkpoint", string(private))
			h.open(hclog.NewNullLogger())
		},
	} {
		t.Run(strings.TrimSpace(part[:strings.IndexByte(part, ':')]), func(t *testing.T) {
			h := base.copied()
			h.t = t
			swap(h)
			h.sendsNothing(scores, part)
			if p := h.approval(); p.Needed != 2 && !strings.HasPrefix(part, "policy") {
				t.Errorf("%d approver is enough: %s", p.Needed, p.Why)
			}
			// Nobody whom only the new list names approves it.
			if strings.HasPrefix(part, "approvers") {
				if _, err := h.signed("eve"); classOf(err) != agent.PolicyRefused || !strings.Contains(fmt.Sprint(err), "belongs to nobody who may approve this") {
					t.Errorf("the new list approves itself: %v", err)
				}
			}
			if p, err := h.signed(ben, ana); err != nil || !p.Approved {
				t.Fatalf("two approvers: %v %v", p, err)
			}
			_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()})
			if strings.HasPrefix(part, "signing key") { // the recipient does not know it, whoever approved it
				if classOf(err) != agent.KeyTrouble {
					t.Errorf("a drop is signed by a key that the recipient does not know: %v", err)
				}
				h.must(h.agent.Confirm(context.Background(), []string{scores}, "ana", "read out by telephone"))
				_, err = h.agent.Run(context.Background(), scores, agent.RunOptions{AsOf: demo.AsOf()})
			}
			if err != nil {
				t.Errorf("approved by two: %v", err)
			}
		})
	}
}

// widened adds an instrument.
func (h *house) widened() {
	h.t.Helper()
	h.edit(scoresPolicy, "{in: instruments}", "[44261-6, 70274-6, 75626-2]")
}

// Signatures that do not make an approval: the exchange stays where it is.
func TestWrongSignaturesSendNothing(t *testing.T) {
	t.Parallel()
	base := approvedClinic(t)
	for name, c := range map[string]struct {
		sign func(h *house) (*agent.Approval, error)
		want string // of the error; "" when the signature is good and not enough
	}{
		"singly signed widening": {func(h *house) (*agent.Approval, error) { return h.signed(ana) }, ""},
		"the same person twice":  {func(h *house) (*agent.Approval, error) { return h.signed(ben, ben) }, ""},
		"a stranger":             {func(h *house) (*agent.Approval, error) { return h.signed(ana, stranger) }, "belongs to nobody who may approve this; may sign now: Ana Ruiz, privacy officer; Ben Okafor"},
		"another namespace": {func(h *house) (*agent.Approval, error) {
			return h.agent.Approve(context.Background(), scores, [][]byte{h.opensshSigns(ana, "file", h.approval().Statement+"\n")})
		}, "does not approve this statement"},
		"another closure": {func(h *house) (*agent.Approval, error) {
			p := h.approval()
			other := strings.Replace(p.Statement, p.Closure, strings.Repeat("0", 64), 1)
			return h.agent.Approve(context.Background(), scores, [][]byte{h.opensshSigns(ana, "postern-policy", other+"\n")})
		}, "does not approve this statement"},
		"another exchange": {func(h *house) (*agent.Approval, error) {
			other := strings.Replace(h.approval().Statement, scores, treatment, 1)
			return h.agent.Approve(context.Background(), scores, [][]byte{h.opensshSigns(ana, "postern-policy", other+"\n")})
		}, "does not approve this statement"},
		"no signature": {func(h *house) (*agent.Approval, error) {
			return h.agent.Approve(context.Background(), scores, [][]byte{[]byte("approved")})
		}, "does not approve this statement"},
	} {
		t.Run(name, func(t *testing.T) {
			h := base.copied()
			h.t = t
			h.widened()
			p, err := c.sign(h)
			switch {
			case c.want == "" && (err != nil || p.Approved || len(p.Signed) != 1 || p.Needed != 2):
				t.Fatalf("%+v, %v", p, err)
			case c.want != "" && (classOf(err) != agent.PolicyRefused || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("%v", err)
			}
			h.sendsNothing(scores, "policy: ")
			if n := len(h.approval().Signed); c.want != "" && n != 0 {
				t.Errorf("%d signatures were taken beside a bad one", n)
			}
		})
	}
}
