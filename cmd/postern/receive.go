package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// receive is the recipient's side. It needs no configuration: only the keys
// that the two sides exchanged. docs/receiving-a-drop.md does the same with
// stock tools.
func receive(k *call) error {
	name := k.flags.String("name", "", "our own `NAME`, as the sender's manifests have it")
	signers := k.flags.String("signers", "allowed_signers", "`FILE` of senders' signing keys, as ssh-keygen reads it")
	identity := k.flags.String("identity", "", "`FILE` of our secret key: of age, as age-keygen writes it, of SSH, or of OpenPGP, as gpg --export-secret-keys --armor writes it")
	passphrase := k.flags.String("passphrase", "", "where the passphrase of an OpenPGP key lies: a `REFERENCE` such as file:PATH or env:NAME; without it, it is asked for")
	out := k.flags.String("out", "received", "`DIR` for what was verified and decrypted")
	receipts := k.flags.String("receipts", "", "`DIR` for receipts (default OUT/receipts)")
	receiptKey := k.flags.String("receipt-key", "", "`FILE` of the SSH key that signs receipts; none are written without it")
	ledgerKey := k.flags.String("ledger-key", "", "the sender's checkpoint `KEY`, NAME+HASH+BASE64: its ledger is then checked for rewriting")
	adopt := k.flags.Bool("adopt", false, "take an exchange up at whatever number it has, after our memory was lost")
	var deleted files
	k.flags.Var(&deleted, "deleted", "say that all that was recalled of this `DROP`, such as cv.x7.000042, is deleted; may stand several times")
	if err := k.parse(1, 1); err != nil {
		return err
	}
	if *name == "" || *identity == "" {
		return &agent.Failure{Class: agent.Usage, What: "receive needs --name and --identity", Remedy: "postern receive --help says what they are"}
	}
	if _, err := os.ReadDir(k.arg(0)); err != nil {
		return &agent.Failure{Class: agent.Usage, What: "inbox", Err: err, Remedy: "name the folder that the sender's drops come into"}
	}
	r := &transfer.Receiver{Name: *name, Dir: *out, Receipts: *receipts, Adopt: *adopt, Deleted: deleted}
	if err := receiverKeys(r, *signers, *identity, *passphrase, *receiptKey); err != nil {
		return err
	}
	if *ledgerKey != "" {
		r.CheckLedger = func(seen string, now transfer.Ledger) error {
			return ledger.VerifyContinues([]byte(seen), []byte(now.Checkpoint), *ledgerKey, now.Proof)
		}
	}
	results, err := r.Receive(k.ctx, k.arg(0))
	if err := errors.Join(err, k.showReceived(results)); err != nil {
		return err
	}
	for _, drop := range deleted {
		if !slices.ContainsFunc(results, func(r transfer.Result) bool { return r.Drop == drop && r.Status == transfer.Deleted }) {
			return &agent.Failure{Class: agent.AnsweredNo, What: fmt.Sprintf("--deleted %s: no recall of this drop that could be read lies in the inbox; nothing was answered", drop), Remedy: "write the drop as the table of drops has it"}
		}
	}
	for _, result := range results {
		if result.Fault != nil {
			return silent{agent.AnsweredNo}
		}
	}
	if slices.ContainsFunc(results, func(r transfer.Result) bool { return r.Status == transfer.Unfinished || r.Status == transfer.Recalled }) {
		return silent{agent.Undelivered}
	}
	return nil
}

func receiverKeys(r *transfer.Receiver, signers, identity, passphrase, receiptKey string) error {
	trouble := func(what string, err error, remedy string) error {
		return &agent.Failure{Class: agent.KeyTrouble, What: what, Err: err, Remedy: remedy}
	}
	text, err := os.ReadFile(signers)
	if err == nil {
		r.Signers, err = sshsig.ParseAllowedSigners(signers, text)
	}
	if err != nil {
		return trouble("senders' keys", err, "save the line that the clinic's `postern keys show` prints, and name the file with --signers")
	}
	if text, err = os.ReadFile(identity); err == nil && transfer.IsOpenPGP(text) {
		r.OpenPGP, err = transfer.ParseKeyring(text, func() (string, error) { return passphraseOf(identity, passphrase) })
	} else if err == nil {
		r.Identities, err = transfer.ParseIdentities(text)
	}
	if err != nil {
		return trouble("our secret key", err, "name with --identity the file that `age-keygen -o FILE` wrote")
	}
	if receiptKey == "" {
		return nil
	}
	if text, err = os.ReadFile(receiptKey); err == nil {
		r.ReceiptSigner, err = sshsig.LoadSigner(text)
	}
	if err != nil {
		return trouble("the key that signs receipts", err, "name with --receipt-key the file that `ssh-keygen -t ed25519 -f FILE` wrote, without a passphrase")
	}
	return nil
}

// passphraseOf is by a reference or, without one, from the terminal. The line end
// that an editor leaves is no part of it.
func passphraseOf(file, ref string) (string, error) {
	if ref == "" {
		return keyring.AskPassphrase("passphrase of " + file + ": ")
	}
	words, err := keyring.Resolve(ref, ".")
	return strings.TrimRight(string(words), "\r\n"), err
}

// received is one drop as --json shows it.
type received struct {
	Drop   string   `json:"drop"`
	Sender string   `json:"sender,omitempty"`
	Status string   `json:"status"`
	Rows   int64    `json:"rows"`
	Folder string   `json:"folder,omitempty"`
	Fault  string   `json:"fault,omitempty"`
	File   string   `json:"file,omitempty"`
	Why    string   `json:"why,omitempty"`
	Takes  []int64  `json:"withdrawn,omitempty"`
	Delete []string `json:"delete,omitempty"`     // row keys, of a recall that does not name the whole drop
	NewKey string   `json:"introduces,omitempty"` // fingerprint of the signing key that the drop introduces
}

func (k *call) showReceived(results []transfer.Result) error {
	list := []received{}
	for _, r := range results {
		row := received{Drop: r.Drop, Sender: r.Sender, Status: r.Status, Rows: r.Rows, Folder: r.Folder, Takes: r.Withdrawn, Delete: r.Delete, NewKey: r.Introduces}
		if r.Fault != nil {
			row.Fault, row.File, row.Why = string(r.Fault.Class), r.Fault.File, r.Fault.Why
		}
		list = append(list, row)
	}
	if k.json {
		return k.answer(list)
	}
	if len(list) == 0 {
		fmt.Fprintln(k.out, "no drop in the inbox")
		return nil
	}
	return tabulate(k, "drop\tsender\tstatus\trows\twhere", list, func(r received) []any {
		what := r.Folder
		if r.Status == transfer.Unfinished {
			what = r.Drop + ".done is missing: the drop is still on its way, or the file is lost"
		}
		if r.Status == transfer.Recalled {
			what = recallWords(&r)
		}
		if r.Fault != "" {
			what = fmt.Sprintf("%s: %s: %s", r.Fault, r.File, r.Why)
		}
		if len(r.Takes) > 0 {
			what += fmt.Sprintf(" (withdraws drops %v)", r.Takes)
		}
		if r.NewKey != "" {
			what += fmt.Sprintf(" (introduces the signing key %s)", r.NewKey)
		}
		return []any{r.Drop, r.Sender, r.Status, r.Rows, what}
	})
}

func recallWords(r *received) string {
	what := "all of it"
	if len(r.Delete) > 0 {
		what = fmt.Sprintf("%d rows, whose keys --json lists,", len(r.Delete))
	}
	return fmt.Sprintf("delete %s wherever it was loaded, then say so: --deleted %s", what, r.Drop)
}
