package ledger

import (
	"context"
	"crypto/ed25519"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Proof is a Merkle consistency proof (RFC 6962 §2.1.2).
type Proof []Hash

// Strings gives the proof as base64, as it stands in a drop's book.
func (p Proof) Strings() []string {
	list := make([]string, len(p))
	for i, hash := range p {
		list[i] = hash.String()
	}
	return list
}

// ParseProof reads what Strings gave.
func ParseProof(list []string) (Proof, error) {
	p := make(Proof, len(list))
	for i, text := range list {
		hash, err := tlog.ParseHash(text)
		if err != nil || hash.String() != text {
			return nil, fmt.Errorf("ledger proof: element %d is not a hash in base64", i+1)
		}
		p[i] = hash
	}
	return p, nil
}

// ErrProof says that a proof does not show what it should.
var ErrProof = errors.New("ledger proof does not hold")

// Consistency proves that the ledger of size to begins with that of size from.
func Consistency(ctx context.Context, db DB, from, to int64) (Proof, error) {
	has, err := size(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("ledger proof: %w", err)
	}
	if from < 0 || from > to || to > has {
		return nil, fmt.Errorf("ledger proof: no proof leads from size %d to %d of a ledger with %d entries", from, to, has)
	}
	if from == 0 {
		return Proof{}, nil
	}
	p, err := tlog.ProveTree(to, from, reader(ctx, db))
	if err != nil {
		return nil, fmt.Errorf("ledger proof: %w", err)
	}
	return Proof(p), nil
}

// Tree is a ledger at one size.
type Tree struct {
	Size int64
	Root Hash
}

// VerifyConsistency says whether the ledger now begins with the ledger before.
func VerifyConsistency(before, now Tree, proof Proof) error {
	empty, _ := tlog.TreeHash(0, nil)
	switch {
	case before.Size < 0 || before.Size > now.Size:
		return fmt.Errorf("%w: the ledger has %d entries now and had %d before", ErrProof, now.Size, before.Size)
	case before.Size == 0:
		if before.Root == empty && len(proof) == 0 && (now.Size > 0 || now.Root == empty) {
			return nil
		}
	case tlog.CheckTree(tlog.TreeProof(proof), now.Size, now.Root, before.Size, before.Root) == nil:
		return nil
	}
	return fmt.Errorf("%w: the ledger of %d entries does not begin with the one of %d that was seen before",
		ErrProof, now.Size, before.Size)
}

// Signer signs checkpoints with the clinic's checkpoint key. The name is the
// checkpoint's origin: by C2SP a URL without scheme, such as
// clearview.example/postern.
func Signer(origin string, key ed25519.PrivateKey) (note.Signer, error) {
	text, err := VerifierKey(origin, key.Public().(ed25519.PublicKey))
	if err != nil {
		return nil, err
	}
	verifier, err := note.NewVerifier(text)
	if err != nil {
		return nil, fmt.Errorf("checkpoint key %q: %w", origin, err)
	}
	return &signer{verifier, key}, nil
}

type signer struct {
	note.Verifier
	key ed25519.PrivateKey
}

func (s *signer) Sign(message []byte) ([]byte, error) { return ed25519.Sign(s.key, message), nil }

// VerifierKey is the public key as recipients keep it: name+hash+base64.
func VerifierKey(origin string, key ed25519.PublicKey) (string, error) {
	text, err := note.NewEd25519VerifierKey(origin, key)
	if err == nil {
		_, err = note.NewVerifier(text)
	}
	if err != nil || origin == "" || strings.ContainsAny(origin, " +\n") {
		return "", fmt.Errorf("checkpoint origin %q: a name without blanks and plus signs is needed, such as clearview.example/postern", origin)
	}
	return text, nil
}

// Checkpoint signs the ledger's head: a signed note of three lines, which are
// origin, size and root in base64. Each signer adds its signature; a recipient
// needs one.
func Checkpoint(ctx context.Context, db DB, origin string, signers ...note.Signer) ([]byte, error) {
	for _, signer := range signers {
		if signer.Name() != origin {
			return nil, fmt.Errorf("checkpoint: the key is named %q, not %q", signer.Name(), origin)
		}
	}
	entries, root, err := Head(ctx, db)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	text := fmt.Sprintf("%s\n%d\n%s\n", origin, entries, root)
	signed, err := note.Sign(&note.Note{Text: text}, signers...)
	if err != nil {
		return nil, fmt.Errorf("checkpoint: %w", err)
	}
	return signed, nil
}

// VerifyCheckpoint checks the signature by the key that VerifierKey gave, and
// that the origin is the key's name.
func VerifyCheckpoint(checkpoint []byte, verifierKey string) (Tree, error) {
	verifier, err := note.NewVerifier(verifierKey)
	if err != nil {
		return Tree{}, fmt.Errorf("checkpoint: the verifier key cannot be read: %w", err)
	}
	signed, err := note.Open(checkpoint, note.VerifierList(verifier))
	if err != nil {
		return Tree{}, fmt.Errorf("checkpoint: not signed by %s: %w", verifier.Name(), err)
	}
	// Later versions may add lines; these three stay the first.
	lines := strings.SplitN(signed.Text, "\n", 4)
	if len(lines) < 4 || lines[0] != verifier.Name() {
		return Tree{}, fmt.Errorf("checkpoint: not one of %s", verifier.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	root, errRoot := base64.StdEncoding.Strict().DecodeString(lines[2])
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] || errRoot != nil || len(root) != tlog.HashSize {
		return Tree{}, fmt.Errorf("checkpoint of %s: size or root cannot be read", verifier.Name())
	}
	return Tree{size, Hash(root)}, nil
}

// VerifyContinues checks two checkpoints by one key, and that the ledger of
// the second begins with that of the first. Without a first it checks the
// second alone.
func VerifyContinues(before, now []byte, verifierKey string, proof []string) error {
	later, err := VerifyCheckpoint(now, verifierKey)
	if err != nil || len(before) == 0 {
		return err
	}
	earlier, err := VerifyCheckpoint(before, verifierKey)
	if err != nil {
		return err
	}
	hashes, err := ParseProof(proof)
	if err != nil {
		return err
	}
	return VerifyConsistency(earlier, later, hashes)
}
