package main

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/transfer"
)

var keysCommands = []command{
	{"keys show", "[--allowed-signers | --openpgp]", "what recipients need of the clinic's keys, fingerprints, and the epochs; no secrets", keysShow, false},
	{"keys new", "master FILE [--passphrase] | openpgp FILE --name NAME", "make a master key, or the key that signs what is encrypted with OpenPGP; never overwrites", keysNew, true},
	{"keys rotate", "EXCHANGE… | drop-signing | checkpoint --by NAME --because WHY [--overlap]", "begin a new epoch: new codes, tokens, moved dates and row keys for the recipient; or make a new signing key", keysRotate, false},
	{"keys confirm", "EXCHANGE… --by NAME --because WHY", "say that the recipient has the present signing key of drops, by its fingerprint", keysConfirm, false},
	{"keys destroy", "EXCHANGE | --epoch NAME --by NAME --because WHY", "delete the secret and the crosswalk of an epoch, for good", keysDestroy, false},
}

// keysCommand hands over to the word that follows.
func keysCommand(k *call) error { return k.among(keysCommands) }

func keysShow(k *call) error {
	signers := k.flags.Bool("allowed-signers", false, "only the lines by which recipients check signatures (ssh-keygen -Y verify)")
	public := k.flags.Bool("openpgp", false, "only the clinic's OpenPGP key, by which recipients check what is signed with it")
	if err := k.parse(0, 0); err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		keys, err := a.PublicKeys(k.ctx)
		if err != nil {
			return err
		}
		epochs, err := a.Epochs(k.ctx)
		switch {
		case err != nil:
			return err
		case k.json:
			return k.answer(struct {
				*agent.PublicKeys
				Epochs []agent.Epoch `json:"epochs"`
			}{keys, epochs})
		case *signers:
			fmt.Fprintln(k.out, keys.AllowedSigners)
			return nil
		case *public && keys.OpenPGP == "":
			return &agent.Failure{Class: agent.KeyTrouble, What: "the clinic has no OpenPGP key", Remedy: "make one: postern keys new openpgp FILE --name NAME; then name it under keys.openpgp"}
		case *public:
			fmt.Fprint(k.out, keys.OpenPGP)
			return nil
		}
		fmt.Fprintf(k.out, "allowed signers of recipients (drops, recalls):\n%s\n\ncheckpoint key for recipients (ledger):\n%s\n\narchive key:\n%s\n\nfingerprints:\n", keys.AllowedSigners, keys.CheckpointKey, keys.Archive)
		for _, use := range slices.Sorted(maps.Keys(keys.Fingerprints)) {
			fmt.Fprintf(k.out, "  %-12s  %s\n", use, keys.Fingerprints[use])
		}
		if len(keys.Known) > 0 {
			fmt.Fprintln(k.out)
			if err := k.showKnown(keys.Known); err != nil {
				return err
			}
		}
		fmt.Fprintln(k.out, "\nkeys that drops are encrypted to:")
		for _, r := range keys.Recipients {
			fmt.Fprintf(k.out, "  %s\n%s", r.Recipient, page.Wrap(recipientWords(&r), "    ", "    "))
		}
		if len(epochs) == 0 {
			fmt.Fprintln(k.out, "\nno epoch yet: the first run of an exchange makes one")
			return nil
		}
		fmt.Fprintln(k.out, "\nepochs:")
		for i := range epochs {
			fmt.Fprintf(k.out, "  %s\n%s", epochs[i].Name, page.Wrap(epochWords(&epochs[i]), "    ", "    "))
		}
		return nil
	})
}

// recipientWords tell of a key what is compared when it is read out.
func recipientWords(r *agent.RecipientKey) string {
	words := strings.TrimSpace(r.Fingerprint + " " + r.Algorithm)
	if r.Expires != "" {
		words += ", expires " + r.Expires
	}
	if r.Trouble != "" {
		words += "; not used: " + r.Trouble
	}
	return strings.TrimPrefix(words, "; ")
}

// epochWords tell of an epoch what the officer asks who is to rotate or destroy it.
func epochWords(e *agent.Epoch) string {
	state := "out of use"
	if e.Current {
		state = "current"
	}
	if e.Overlap {
		state += ", overlap"
	}
	if e.Destroyed != "" {
		state = "destroyed " + e.Destroyed
	}
	of := ""
	if len(e.Exchanges) > 0 {
		of = " of " + strings.Join(e.Exchanges, ", ")
	}
	why := ""
	if e.Because != "" {
		why = ", because: " + e.Because
	}
	return fmt.Sprintf("%s; drops: %d%s; people with codes: %d; made %s by %s%s", state, e.Drops, of, e.People, e.Made, cmp.Or(e.MadeBy, "a run"), why)
}

func keysNew(k *call) error {
	under := k.flags.Bool("passphrase", false, "encrypt it to a passphrase, as age -p does; it is asked for twice")
	name := k.flags.String("name", "", "of an OpenPGP key: the clinic's `NAME`, as recipients will see it")
	if err := k.parse(2, 2); err != nil {
		return err
	}
	what, err := k.action("master", "openpgp")
	if err != nil {
		return err
	}
	if (what == "openpgp") != (*name != "") || what == "openpgp" && *under {
		return usageFailure("the flags do not fit the key", "postern keys new master FILE [--passphrase], or postern keys new openpgp FILE --name NAME")
	}
	if what == "openpgp" {
		return k.newOpenPGP(k.arg(1), *name)
	}
	words := ""
	if *under {
		again, err := "", error(nil)
		if words, err = keyring.AskPassphrase("passphrase for the new master key: "); err == nil {
			again, err = keyring.AskPassphrase("the same once more: ")
		}
		if err == nil && words != again {
			err = errors.New("the two are not the same")
		}
		if err != nil {
			return &agent.Failure{Class: agent.Usage, What: "no key was made", Err: err, Remedy: "run it at a terminal, or make one without --passphrase and encrypt it with `age -p`"}
		}
	}
	if err := keyring.NewMasterFile(k.arg(1), words); err != nil {
		return &agent.Failure{Class: agent.KeyTrouble, What: "no key was made", Err: err, Remedy: "name a file that is not there yet"}
	}
	if k.json {
		return k.answer(map[string]string{"file": k.arg(1)})
	}
	fmt.Fprintf(k.out, "made %s; keep a copy of it in a safe: what this master key has wrapped, no other opens\n", k.arg(1))
	return nil
}

// newOpenPGP makes the clinic's OpenPGP key. It has no passphrase, as the other
// signing keys have none: the agent runs unattended.
func (k *call) newOpenPGP(file, name string) error {
	text, err := transfer.NewOpenPGPKey(name, now())
	if err == nil {
		err = durable.WriteFile(file, text, 0o600)
	}
	if err != nil {
		return &agent.Failure{Class: agent.KeyTrouble, What: "no key was made", Err: err, Remedy: "name a file that is not there yet, and a name without ( ) < >"}
	}
	if k.json {
		return k.answer(map[string]string{"file": file})
	}
	fmt.Fprintf(k.out, "made %s; name it in postern.yaml, keys: {openpgp: file:PATH}; then `postern keys show --openpgp` prints what recipients need\n", file)
	return nil
}

// answerable declares who answers for a change of keys, and why.
func (k *call) answerable() (by, because *string) {
	return k.flags.String("by", "", "the `NAME` of who decided it; stands in the ledger"), k.flags.String("because", "", "`WHY`, in a few words; stands in the ledger")
}

func (k *call) answered(by, because *string) error {
	if strings.TrimSpace(*by) == "" || strings.TrimSpace(*because) == "" {
		return usageFailure("who decided it, and why, is missing", "add --by NAME --because WHY; no patient's name")
	}
	return nil
}

func keysRotate(k *call) error {
	by, because := k.answerable()
	overlap := k.flags.Bool("overlap", false, "each later drop tells of the people in it the old code beside the new one")
	if err := k.parse(1, -1); err != nil {
		return err
	}
	if err := k.answered(by, because); err != nil {
		return err
	}
	if use := k.arg(0); len(k.args) == 1 && (use == "drop-signing" || use == "checkpoint") {
		return k.rotateSigner(use, *by, *because)
	}
	return k.with(func(a *agent.Agent) error {
		r, err := a.Rotate(k.ctx, k.args, *by, *because, *overlap)
		if err != nil {
			return err
		}
		if k.json {
			return k.answer(r)
		}
		fmt.Fprintf(k.out, "the next drops of %s draw from %s; %s is out of use and still opens what was sent\n\ntell the recipient:\n", strings.Join(r.Exchanges, ", "), r.New, r.Old)
		for _, text := range r.Changes {
			fmt.Fprintf(k.out, "  %s\n", text)
		}
		return nil
	})
}

// rotateSigner makes a signing key; that it signs is for the officer to write and
// for the approvers to sign.
func (k *call) rotateSigner(use, by, because string) error {
	then := "Have every exchange approved, then run as ever: the next drop of each introduces the new key.\n`postern keys show` tells which recipients know it; until all do, keep the one before."
	if use == "checkpoint" {
		then = "Have every exchange approved; checkpoints then bear both signatures. Send recipients the new checkpoint key of `postern keys show`;\nonce each has taken a drop and gone over to it, remove the one before."
	}
	return k.with(func(a *agent.Agent) error {
		return show(k, func(n *agent.NewSigner) error {
			_, err := fmt.Fprintf(k.out, "made %s, %s; it signs nothing yet. In postern.yaml, under keys:\n  %s: file:%s\n  %s_before: %s\n%s\n",
				n.File, n.Fingerprint, n.Use, n.File, n.Use, n.Before, then)
			return err
		})(a.RotateSigner(k.ctx, use, by, because))
	})
}

// keysConfirm takes the officer's word about the signing key.
func keysConfirm(k *call) error {
	by, because := k.answerable()
	if err := k.parse(1, -1); err != nil {
		return err
	}
	if err := k.answered(by, because); err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		if err := a.Confirm(k.ctx, k.args, *by, *because); err != nil {
			return err
		}
		return show(k, k.showKnown)(a.Known(k.ctx))
	})
}

func (k *call) showKnown(known []agent.Known) error {
	return tabulate(k, "exchange\trecipient knows the signing key\tsince\t", known, func(e agent.Known) []any {
		next := ""
		if e.Introduce {
			next = "the next drop introduces the present key"
		}
		return []any{e.Exchange, e.Key, e.Since.Format(time.DateOnly), next}
	})
}

func keysDestroy(k *call) error {
	by, because := k.answerable()
	epoch := k.flags.String("epoch", "", "the epoch's `NAME`, as `postern keys show` has it")
	current := k.flags.Bool("current", false, "destroy the epoch that runs draw from; the next run begins another")
	yes := k.flags.Bool("yes", false, "do not ask for the epoch's name")
	if err := k.parse(0, 1); err != nil {
		return err
	}
	if (k.arg(0) == "") == (*epoch == "") {
		return usageFailure("what is to be destroyed is not clear", "name an exchange, or an epoch with --epoch NAME")
	}
	if err := k.answered(by, because); err != nil {
		return err
	}
	return k.with(func(a *agent.Agent) error {
		doomed, err := a.Doomed(k.ctx, k.arg(0), *epoch, *current)
		if err != nil {
			return err
		}
		if !*yes {
			if err := k.confirmDestruction(doomed); err != nil {
				return err
			}
		}
		if err := a.Destroy(k.ctx, doomed, *by, *because, *current); err != nil {
			return err
		}
		if k.json {
			return k.answer(map[string]any{"destroyed": doomed.Name, "people": doomed.People})
		}
		fmt.Fprintf(k.out, "%s is destroyed: its secret and the codes of %d people are deleted here; backups made before still hold them, until their declared end\n", doomed.Name, doomed.People)
		return nil
	})
}

// confirmDestruction says what is about to happen and waits for the name.
func (k *call) confirmDestruction(e *agent.Epoch) error {
	fmt.Fprintf(k.err, `This destroys %s: its secret, the codes of %d people, and the row keys of %d drops (%s).
Nobody can ever again say whom a code or token of it stands for, nor make the same anew or move dates the same way.
Copies in backups made earlier end only with those backups. What was sent is with the recipient and stays readable there.
To go on, type the epoch's name: `, e.Name, e.People, e.Drops, strings.Join(e.Exchanges, ", "))
	line, _ := bufio.NewReader(k.in).ReadString('\n')
	if strings.TrimSpace(line) != e.Name {
		return usageFailure("nothing was destroyed", "type %s, or add --yes", e.Name)
	}
	return nil
}
