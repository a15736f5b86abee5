package main

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/posternhealth/postern/agent"
)

// files are the values of a flag that may stand several times.
type files []string

func (f *files) String() string     { return strings.Join(*f, " ") }
func (f *files) Set(v string) error { *f = append(*f, v); return nil }

func (f files) read() (texts [][]byte, err error) {
	for _, name := range f {
		text, err := os.ReadFile(name)
		if err != nil {
			return nil, &agent.Failure{Class: agent.Usage, What: "--signature", Err: err, Remedy: "name the file that ssh-keygen -Y sign wrote, FILE.sig"}
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// approve shows what is to be signed, takes signatures in, or signs.
func approve(k *call) error {
	var signatures files
	k.flags.Var(&signatures, "signature", "a signed statement, `FILE`.sig; may stand several times")
	out := k.flags.String("out", "", "write the statement to `FILE`, and what it is about to FILE.closure")
	statement := k.flags.String("statement", "", "on the approver's own computer: sign this `FILE`")
	key := k.flags.String("key", "", "the approver's private key `FILE`, for --statement")
	if err := k.parse(0, 1); err != nil {
		return err
	}
	if *statement != "" {
		return k.sign(*statement, *key)
	}
	if k.arg(0) == "" {
		return usageFailure("approve was not told which exchange", "postern policy approve EXCHANGE")
	}
	texts, err := signatures.read()
	if err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		approval, err := a.Approve(k.ctx, k.arg(0), texts)
		if err == nil && *out != "" && !approval.Approved {
			err = errors.Join(writeNew(*out+".closure", approval.Text), writeNew(*out, approval.Statement+"\n"))
		}
		return show(k, func(p *agent.Approval) error { return k.showApproval(p, cmp.Or(*out, "FILE")) })(approval, err)
	})
}

func writeNew(name, text string) error {
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		return &agent.Failure{Class: agent.Usage, What: "--out", Err: err, Remedy: "name a file in a folder that can be written"}
	}
	return nil
}

func (k *call) showApproval(p *agent.Approval, file string) error {
	if p.Approved {
		fmt.Fprintf(k.out, "%s is approved as it stands (approval %d)\n", p.Exchange, p.Number)
		return nil
	}
	fmt.Fprintf(k.out, "%s: %s\n\n", p.Exchange, p)
	if len(p.Changes) > 0 {
		fmt.Fprintln(k.out, "changed since the last approval:")
		for _, c := range p.Changes {
			fmt.Fprintf(k.out, "  %s\n", c)
		}
		fmt.Fprintln(k.out)
	}
	fmt.Fprintf(k.out, "needed: %d (%s)\nmay sign: %s\nsigned: %s\n", p.Needed, p.Why, orNobody(p.May), orNobody(p.Signed))
	if len(p.May) < p.Needed {
		fmt.Fprintln(k.out, "\nToo few may sign: have each approver read out the fingerprint that `ssh-keygen -l -f KEY.pub`\nprints, and record it with `postern init DIR --approver SHA256:…`")
	}
	fmt.Fprintf(k.out, "\nEach approver signs this line, alone in a file, on a computer of their own:\n\n%s\n%s", p.Statement, signing(file, "postern policy approve "+p.Exchange))
	return nil
}

// signing says how a statement in a file is signed, and what takes it in.
func signing(file, takes string) string {
	return fmt.Sprintf("\n  ssh-keygen -Y sign -n postern-policy -f KEY %s\n\nand its signature is taken in here:\n\n  %s --signature %s.sig\n", file, takes, file)
}

// sign signs a statement; it needs no configuration.
func (k *call) sign(file, key string) error {
	statement, err := os.ReadFile(file)
	if err != nil {
		return &agent.Failure{Class: agent.Usage, What: "--statement", Err: err, Remedy: "name the file with the line to sign"}
	}
	if closure, err := os.ReadFile(file + ".closure"); err == nil && !strings.Contains(string(statement), fmt.Sprintf(" closure %x ", sha256.Sum256(closure))) {
		return &agent.Failure{Class: agent.AnsweredNo, What: file + ".closure is not what the statement names: its SHA-256 is another", Remedy: "sign nothing, and ask the clinic for both files again"}
	}
	private, err := os.ReadFile(key)
	if err != nil {
		return &agent.Failure{Class: agent.KeyTrouble, What: "--key", Err: err, Remedy: "name your private key, such as ~/.ssh/id_ed25519"}
	}
	signature, err := agent.SignStatement(statement, private)
	if err != nil {
		return err
	}
	if err := writeNew(file+".sig", string(signature)); err != nil {
		return err
	}
	line := strings.TrimSpace(string(statement))
	return k.say(map[string]string{"statement": line, "signature": file + ".sig"}, "signed: %s\nsend back %s.sig\n", line, file)
}

// release lifts a hold, or shows what an approver signs to lift it.
func release(k *call) error {
	var signatures files
	k.flags.Var(&signatures, "signature", "the signed statement, `FILE`.sig")
	out := k.flags.String("out", "", "write the statement to `FILE`")
	return k.on(1, 1, func(a *agent.Agent) error {
		texts, err := signatures.read()
		if err != nil {
			return err
		}
		statement, err := a.ReleaseStatement(k.ctx, k.arg(0))
		if err != nil {
			return err
		}
		if statement != "" && len(texts) == 0 {
			return k.showRelease(statement, *out)
		}
		by := ""
		for _, text := range texts {
			if by, err = a.Release(k.ctx, k.arg(0), text); err != nil {
				return err
			}
		}
		return k.say(map[string]any{"exchange": k.arg(0), "held": false, "by": by}, "%s is not on hold\n", k.arg(0))
	})
}

func (k *call) showRelease(statement, file string) error {
	if file != "" {
		if err := writeNew(file, statement+"\n"); err != nil {
			return err
		}
	}
	err := k.say(map[string]any{"exchange": k.arg(0), "held": true, "statement": statement},
		"One approver signs this line, alone in a file, on a computer of their own:\n\n%s\n%s", statement, signing(cmp.Or(file, "FILE"), "postern release "+k.arg(0)))
	return ends(agent.PolicyRefused, true, err)
}

func orNobody(names []string) string {
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, "; ")
}
