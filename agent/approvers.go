package agent

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/ledger"
)

// ApproverConfig is a person who may approve. The private half of the key is
// never on the clinic's machine.
type ApproverConfig struct {
	Name  string          `yaml:"name,required"`
	Key   string          `yaml:"key,required"`
	Until strictyaml.Date `yaml:"until"` // last day on which the key counts; open when not given
}

// approvalNamespace is the SSHSIG namespace of everything approvers sign.
const approvalNamespace = "postern-policy"

// enough is how many people a first approval and a widening take.
const enough = 2

// approver is a person as a closure names them.
type approver struct{ fingerprint, until, name string }

func checkApprovers(list []ApproverConfig, errs configErrors) {
	keys, people := map[string]string{}, map[string]bool{}
	for i, p := range list {
		at := fmt.Sprintf("approvers[%d]", i)
		people[personOf(p.Name)] = true
		if plainText(p.Name) != p.Name || strings.TrimSpace(p.Name) != p.Name {
			errs.add(at+".name", "write it as people write it", "the name has characters that no name has")
		}
		if _, err := sshsig.ParseAllowedSigners("key", []byte("approver "+p.Key)); err != nil || strings.Contains(p.Key, "\n") {
			errs.add(at+".key", "write the line of the approver's .pub file, ssh-ed25519 …", "no SSH public key that may sign")
			continue
		}
		print := keyFingerprint(p.Key)
		if other, taken := keys[print]; taken {
			errs.add(at+".key", "each person has a key of their own", "the key is also that of %s", other)
		}
		keys[print] = p.Name
	}
	if len(people) < enough {
		errs.add("approvers", "name at least two people; what one person can approve, one person can be made to approve", "a widening takes two approvers")
	}
}

// personOf is by whom a name is meant: two keys of one person are one approver.
func personOf(name string) string { return strings.ToLower(strings.Join(strings.Fields(name), " ")) }

// approverLines write who approves into a closure.
func approverLines(list []ApproverConfig) []string {
	var lines []string
	byName := func(a, b ApproverConfig) int { return strings.Compare(a.Name+a.Key, b.Name+b.Key) }
	for _, p := range slices.SortedFunc(slices.Values(list), byName) {
		until := "open"
		if !p.Until.IsZero() {
			until = p.Until.String()
		}
		lines = append(lines, fmt.Sprintf("%s until %s %s", keyFingerprint(p.Key), until, plainText(p.Name)))
	}
	return lines
}

// approvers reads back what approverLines wrote.
func (c *Closure) approvers() []approver {
	var list []approver
	part, _ := c.part(approversPart)
	for _, l := range part.Lines {
		if f := strings.SplitN(l, " ", 4); len(f) == 4 {
			list = append(list, approver{f[0], f[2], f[3]})
		}
	}
	return list
}

// signedBy gives the one among those who may sign who signed the statement. A
// line that was copied into an editor may have lost its line feed, or gained a
// carriage return: the words are the same.
func signedBy(statement string, armored []byte, may []approver, today extract.Day) (approver, error) {
	var key ssh.PublicKey
	err := errors.New("")
	for _, end := range []string{"\n", "", "\r\n"} {
		if err != nil {
			key, err = sshsig.Verify(armored, approvalNamespace, strings.NewReader(statement+end))
		}
	}
	if err != nil {
		return approver{}, fail(PolicyRefused, err, "sign exactly this line, in a file of its own: "+statement,
			"the signature does not approve this statement; it may be of another exchange, of another closure or of an earlier time")
	}
	print := ssh.FingerprintSHA256(key)
	at := slices.IndexFunc(may, func(p approver) bool { return p.fingerprint == print })
	switch {
	case at < 0:
		return approver{}, fail(PolicyRefused, nil, "may sign now: "+names(may), "key %s belongs to nobody who may approve this", print)
	case may[at].until != "open" && may[at].until < today.String():
		return approver{}, fail(PolicyRefused, nil, "another approver must sign", "the key of %s (%s) counted until %s", may[at].name, print, may[at].until)
	}
	return may[at], nil
}

func names(list []approver) string {
	var names []string
	for _, p := range list {
		if !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	if len(names) == 0 {
		return "nobody"
	}
	return strings.Join(names, "; ")
}

var fingerprintShape = regexp.MustCompile(`^SHA256:[A-Za-z0-9+/]{43}$`)

// ConfirmApprovers records fingerprints that a person compared with what the
// approvers read out. The first approval of a clinic rests on them, so they are
// taken only while nothing was ever approved there; later approvers are
// approved by earlier ones. The configuration may still be a draft.
func ConfirmApprovers(ctx context.Context, configFile string, fingerprints []string) (err error) {
	for _, f := range fingerprints {
		if !fingerprintShape.MatchString(f) {
			return fail(Usage, nil, "the approver reads it out from: ssh-keygen -l -f KEY.pub", "%q is no fingerprint of a key; it begins with SHA256: and has 43 more characters", f)
		}
	}
	config, _, err := readConfig(configFile, strictyaml.Drafts)
	if config == nil || config.State == "" || config.Keys.Master == "" {
		return err
	}
	master, err := keyring.LoadMaster(config.Keys.Master, config.Keys.Passphrase, config.Dir)
	if err != nil {
		return fail(KeyTrouble, err, ifLost(err), "master key")
	}
	db, err := openDatabase(ctx, config.StateDir())
	if err != nil {
		return fail(Altered, err, "check that the state folder can be written", "open state")
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	return inTx(ctx, db, func(tx *sql.Tx) error {
		var approvals int
		if err := tx.QueryRowContext(ctx, `SELECT count(*) FROM approval`).Scan(&approvals); err != nil {
			return err
		}
		if approvals > 0 {
			return fail(PolicyRefused, nil, "name them under approvers in postern.yaml and have that approved: `postern policy approve EXCHANGE`",
				"this clinic has approvals already; a new approver is approved by two earlier ones")
		}
		for _, f := range fingerprints {
			if err := confirm(ctx, tx, master, f); err != nil {
				return err
			}
		}
		return nil
	})
}

func confirm(ctx context.Context, tx *sql.Tx, master *keyring.Master, fingerprint string) error {
	result, err := tx.ExecContext(ctx, `INSERT INTO confirmed (fingerprint, seal) VALUES (?, ?) ON CONFLICT DO NOTHING`,
		fingerprint, master.Wrap("confirmed approver", []byte(fingerprint)))
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = ledger.Append(ctx, tx, ledger.Event{Kind: ledger.Key, At: time.Now(), Data: map[string]any{"approver_confirmed": fingerprint}})
	return err
}

// opens tells whether the master key sealed exactly this: a row that somebody
// else wrote into the database counts for nothing.
func (a *Agent) opens(label, value string, seal []byte) bool {
	plain, err := a.master.Unwrap(label, seal)
	return err == nil && bytes.Equal(plain, []byte(value))
}

// trusted are those whose key may begin an exchange: the approvers of the
// clinic's newest approval and, before there is one, those confirmed by hand.
func (a *Agent) trusted(ctx context.Context) (map[string]bool, error) {
	trusted := map[string]bool{}
	var exchange string
	err := a.db.QueryRowContext(ctx, `SELECT exchange FROM approval ORDER BY rowid DESC LIMIT 1`).Scan(&exchange)
	if err == nil {
		last, err := a.lastApproval(ctx, a.db, exchange)
		if err != nil {
			return nil, err
		}
		closure, err := a.approvedClosure(last.closure)
		if err != nil {
			return nil, err
		}
		for _, p := range closure.approvers() {
			trusted[p.fingerprint] = true
		}
		return trusted, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	var f string
	var seal []byte
	err = each(ctx, a.db, row{&f, &seal}, func() error {
		if !a.opens("confirmed approver", f, seal) {
			return fail(Altered, nil, "restore the state from its backup", "the confirmed approvers were altered")
		}
		trusted[f] = true
		return nil
	}, `SELECT fingerprint, seal FROM confirmed`)
	return trusted, err
}

// mayBegin are the approvers of a first closure who are trusted.
func (a *Agent) mayBegin(ctx context.Context, closure *Closure) ([]approver, error) {
	trusted, err := a.trusted(ctx)
	return slices.DeleteFunc(closure.approvers(), func(p approver) bool { return !trusted[p.fingerprint] }), err
}

// SignStatement makes what `ssh-keygen -Y sign -n postern-policy` makes of a
// statement, on the approver's own computer.
func SignStatement(statement, privateKey []byte) ([]byte, error) {
	if !statementShape.Match(statement) {
		return nil, fail(Usage, nil, "`postern policy approve EXCHANGE --out FILE` writes one", "this is no statement that an approver signs")
	}
	signer, err := sshsig.LoadSigner(privateKey)
	if err != nil {
		return nil, fail(KeyTrouble, nil, "if it has a passphrase, sign with: ssh-keygen -Y sign -n "+approvalNamespace+" -f KEY FILE",
			"the key is no private key without passphrase as ssh-keygen writes it")
	}
	return sshsig.Sign(signer, approvalNamespace, bytes.NewReader(statement))
}

// approvedDir holds the closures that were approved, with the files they stand on.
func (a *Agent) approvedDir(digest string) string {
	return filepath.Join(a.Config.StateDir(), "approved", digest)
}
