package transfer

import (
	"bytes"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Fixed keys of recipients. The first opens the drops, keys/identity.txt has its
// secret half; nobody has those of the others.
const (
	payerKey  = "age1r06p6edclah8lwpy7lpn6rqmuyg8zdn6ux0ue4gtcl7w38r6xeyqryfs4l"
	payersOwn = "AGE-SECRET-KEY-1QY9W2VEM0AUZ9S4JCMWECUTWWSLWZXRRK3RUF2JQ49VKSE2MHZHSQ0KL4Y"
	otherKey  = "age10sd6frfgmf3psmnwn3qwmghjth47gz7063uuagqmvmnh3jhl4cgqzpuug3"
)

func ageKey(t testing.TB, text string) Recipient {
	t.Helper()
	key, err := ParseRecipient(text)
	must(t, err)
	return key
}

// keys are those that a receiver of the vectors has.
func (m *vectorMaker) keys() map[string][]byte {
	var allowed bytes.Buffer
	for _, s := range []struct{ principal, options, key string }{
		{"clearview", `namespaces="postern-drop,postern-recall"`, "clearview"},
		{"lakeside", `namespaces="postern-drop,postern-recall"`, "lakeside"},
		{"clearview.test", `namespaces="postern-drop"`, "clearview"},
		{"clearview", `namespaces="postern-drop,postern-recall"`, "clearview by telephone"},
		{"clearview", `namespaces="postern-receipt"`, "clearview receipts"},
		{"clearview", `namespaces="postern-drop",valid-before="20200101"`, "clearview 2019"},
		{"clearview", `namespaces="postern-drop",valid-after="20991231"`, "clearview 2100"},
	} {
		fmt.Fprintf(&allowed, "%s %s %s", s.principal, s.options, ssh.MarshalAuthorizedKey(vectorSigner(s.key).PublicKey()))
	}
	sender, err := m.envelope([]Recipient{ageKey(m.t, payerKey)}).signer.Public()
	must(m.t, err)
	return map[string][]byte{
		"keys/openpgp_sender.asc": []byte(sender),
		"keys/allowed_signers":    allowed.Bytes(),
		"keys/identity.txt":       []byte("# for the drops of this folder alone\n# public key: " + payerKey + "\n" + payersOwn + "\n"),
		"keys/ledger_key":         []byte(newVectorLedger(m.t, "clearview", "entry").key + "\n"),
	}
}

// vectorLedger is the sender's event log of the vectors: its checkpoint at a
// size and the proof from an earlier one.
type vectorLedger struct {
	hashes []tlog.Hash
	signer note.Signer
	key    string // NAME+HASH+BASE64
}

const ledgerName = "clearview.example/postern"

func newVectorLedger(t testing.TB, owner, entries string) *vectorLedger {
	t.Helper()
	seed := sha256.Sum256([]byte("postern drop vectors: ledger of " + owner))
	public := ed25519.NewKeyFromSeed(seed[:]).Public().(ed25519.PublicKey)
	key, err := note.NewEd25519VerifierKey(ledgerName, public)
	must(t, err)
	hash := strings.Split(key, "+")[1]
	signer, err := note.NewSigner("PRIVATE+KEY+" + ledgerName + "+" + hash + "+" + base64.StdEncoding.EncodeToString(append([]byte{1}, seed[:]...)))
	must(t, err)
	l := &vectorLedger{signer: signer, key: key}
	for i := range int64(16) {
		more, err := tlog.StoredHashes(i, fmt.Appendf(nil, "%s %d", entries, i), l)
		must(t, err)
		l.hashes = append(l.hashes, more...)
	}
	return l
}

// ReadHashes makes it a tlog.HashReader.
func (l *vectorLedger) ReadHashes(indexes []int64) (list []tlog.Hash, err error) {
	for _, i := range indexes {
		list = append(list, l.hashes[i])
	}
	return list, nil
}

func (l *vectorLedger) at(t testing.TB, from, size int64) Ledger {
	t.Helper()
	root, err := tlog.TreeHash(size, l)
	must(t, err)
	signed, err := note.Sign(&note.Note{Text: fmt.Sprintf("%s\n%d\n%s\n", ledgerName, size, root)}, l.signer)
	must(t, err)
	now := Ledger{Checkpoint: string(signed), From: from}
	if from > 0 {
		proof, err := tlog.ProveTree(size, from, l)
		must(t, err)
		for _, hash := range proof {
			now.Proof = append(now.Proof, hash.String())
		}
	}
	return now
}
