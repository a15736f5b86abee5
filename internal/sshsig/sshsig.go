// Package sshsig makes and checks SSH signatures of files, and says who may
// make them: what `ssh-keygen -Y sign` writes and `ssh-keygen -Y verify`
// reads (OpenSSH's PROTOCOL.sshsig, version 1, and ALLOWED SIGNERS of
// ssh-keygen(1)).
//
// A signature belongs to a namespace, so that a signed receipt is never taken
// for a signed policy. Keys are Ed25519, ECDSA, or RSA of 2048 bits or more;
// RSA signs with SHA-512 and is verified with SHA-256 or SHA-512, never with
// SHA-1. Keys on security tokens (sk-), certificates and DSA are refused.
//
// A good signature says that the holder of a key made it; only
// AllowedSigners says whose key that is, for what and when.
package sshsig

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"golang.org/x/crypto/ssh"
)

const (
	magic   = "SSHSIG"
	version = 1
	begin   = "-----BEGIN SSH SIGNATURE-----"
	end     = "-----END SSH SIGNATURE-----"
	// lineLength is what ssh-keygen wraps the armor at.
	lineLength = 70
	// maxArmor bounds a signature: an RSA key of 16384 bits needs 6 KiB.
	maxArmor = 64 << 10
	// minRSABits is the least RSA key that is trusted.
	minRSABits = 2048
)

// ErrInvalid is wrapped by every error that is the signature's fault, rather
// than that of reading the message.
var ErrInvalid = errors.New("signature is not valid")

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// envelope is the signature file's content after the magic.
type envelope struct {
	Version   uint32
	PublicKey []byte
	Namespace string
	Reserved  string
	Hash      string
	Signature []byte
}

type statement struct {
	Namespace string
	Reserved  string
	Hash      string
	Digest    []byte
}

func (s statement) bytes() []byte { return append([]byte(magic), ssh.Marshal(s)...) }

// Sign reads the message to its end and gives the armored signature for the
// namespace.
func Sign(signer ssh.Signer, namespace string, message io.Reader) (armored []byte, err error) {
	if namespace == "" {
		return nil, errors.New("sign: a namespace is needed")
	}
	key := signer.PublicKey()
	if err := acceptable(key); err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	digest := sha512.New()
	if _, err := io.Copy(digest, message); err != nil {
		return nil, fmt.Errorf("sign: read the message: %w", err)
	}
	signed := statement{Namespace: namespace, Hash: "sha512", Digest: digest.Sum(nil)}.bytes()
	signature, err := signBytes(signer, signed)
	if err != nil {
		return nil, fmt.Errorf("sign: %w", err)
	}
	return armor(append([]byte(magic), ssh.Marshal(envelope{
		Version:   version,
		PublicKey: key.Marshal(),
		Namespace: namespace,
		Hash:      "sha512",
		Signature: ssh.Marshal(signature),
	})...)), nil
}

func signBytes(signer ssh.Signer, data []byte) (*ssh.Signature, error) {
	if signer.PublicKey().Type() != ssh.KeyAlgoRSA {
		return signer.Sign(rand.Reader, data)
	}
	chooser, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("this RSA key can only sign with SHA-1; use an Ed25519 key")
	}
	return chooser.SignWithAlgorithm(rand.Reader, data, ssh.KeyAlgoRSASHA512)
}

// Verify reads the message to its end and gives the key that signed it in the
// namespace. Whose key it is, AllowedSigners says.
func Verify(armored []byte, namespace string, message io.Reader) (ssh.PublicKey, error) {
	e, key, signature, err := open(armored)
	if err != nil {
		return nil, err
	}
	if e.Namespace != namespace {
		return nil, invalid("it was made for %q, not for %q", e.Namespace, namespace)
	}
	var digest hash.Hash
	switch e.Hash {
	case "sha512":
		digest = sha512.New()
	case "sha256":
		digest = sha256.New()
	default:
		return nil, invalid("hash %q is not sha512 or sha256", e.Hash)
	}
	if _, err := io.Copy(digest, message); err != nil {
		return nil, fmt.Errorf("verify: read the message: %w", err)
	}
	// PROTOCOL.sshsig: the reserved field's content is not to be judged, but
	// it is signed.
	signed := statement{Namespace: e.Namespace, Reserved: e.Reserved, Hash: e.Hash, Digest: digest.Sum(nil)}.bytes()
	if err := key.Verify(signed, signature); err != nil {
		return nil, invalid("what was signed is not what is here, or key %s did not sign it", ssh.FingerprintSHA256(key))
	}
	return key, nil
}

// open takes a signature file apart and refuses what no key of ours makes.
func open(armored []byte) (*envelope, ssh.PublicKey, *ssh.Signature, error) {
	blob, err := unarmor(armored)
	if err != nil {
		return nil, nil, nil, err
	}
	rest, found := bytes.CutPrefix(blob, []byte(magic))
	var e envelope
	if !found || ssh.Unmarshal(rest, &e) != nil {
		return nil, nil, nil, invalid("not an SSH signature")
	}
	if e.Version != version {
		return nil, nil, nil, invalid("version %d, not %d", e.Version, version)
	}
	key, err := ssh.ParsePublicKey(e.PublicKey)
	if err != nil {
		return nil, nil, nil, invalid("its public key cannot be read")
	}
	if err := acceptable(key); err != nil {
		return nil, nil, nil, invalid("%v", err)
	}
	var signature ssh.Signature
	if ssh.Unmarshal(e.Signature, &signature) != nil || len(signature.Rest) != 0 {
		return nil, nil, nil, invalid("its signature field cannot be read")
	}
	if !matches(key, signature.Format) {
		return nil, nil, nil, invalid("algorithm %q is not accepted from a key of type %s", signature.Format, key.Type())
	}
	return &e, key, &signature, nil
}

// matches says whether a key of this type may sign with the algorithm; for
// RSA the key type's own name means SHA-1.
func matches(key ssh.PublicKey, algorithm string) bool {
	if key.Type() == ssh.KeyAlgoRSA {
		return algorithm == ssh.KeyAlgoRSASHA512 || algorithm == ssh.KeyAlgoRSASHA256
	}
	return algorithm == key.Type()
}

func acceptable(key ssh.PublicKey) error {
	switch kind := key.Type(); kind {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return nil
	case ssh.KeyAlgoRSA:
		if c, ok := key.(ssh.CryptoPublicKey); ok {
			if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() >= minRSABits {
				return nil
			}
		}
		return fmt.Errorf("an RSA key of less than %d bits is not accepted; use an Ed25519 key", minRSABits)
	default:
		return refuseType(kind)
	}
}

func refuseType(kind string) error {
	what := "a key of type " + kind
	switch {
	case strings.Contains(kind, "-cert-"):
		what = "a certificate (" + kind + ")"
	case strings.HasPrefix(kind, "sk-"):
		what = "a key on a security token (" + kind + ")"
	}
	return fmt.Errorf("%s is not accepted; use an Ed25519 key (ssh-keygen -t ed25519)", what)
}

func armor(blob []byte) []byte {
	text := base64.StdEncoding.EncodeToString(blob)
	var out bytes.Buffer
	out.WriteString(begin + "\n")
	for len(text) > 0 {
		n := min(lineLength, len(text))
		out.WriteString(text[:n] + "\n")
		text = text[n:]
	}
	out.WriteString(end + "\n")
	return out.Bytes()
}

func unarmor(armored []byte) ([]byte, error) {
	if len(armored) > maxArmor {
		return nil, invalid("its file is larger than %d bytes", maxArmor)
	}
	body, found := bytes.CutPrefix(armored, []byte(begin))
	if !found {
		return nil, invalid("its file does not start with %s", begin)
	}
	body, found = bytes.CutSuffix(bytes.TrimRight(body, "\r\n"), []byte(end))
	if !found {
		return nil, invalid("its file does not end with %s: it was cut short", end)
	}
	// The decoder skips line ends itself.
	blob, err := base64.StdEncoding.Strict().DecodeString(string(body))
	if err != nil {
		return nil, invalid("its file is not base64")
	}
	return blob, nil
}

// LoadSigner reads a private key as ssh-keygen writes it, without passphrase.
func LoadSigner(private []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(private)
	var locked *ssh.PassphraseMissingError
	if errors.As(err, &locked) {
		return nil, errors.New("the signing key has a passphrase, which nobody is there to type; " +
			"remove it (ssh-keygen -p) and guard the file by its mode, or make a key with postern keys new")
	}
	if err != nil {
		return nil, errors.New("the signing key is not a private key as ssh-keygen writes it")
	}
	if err := acceptable(signer.PublicKey()); err != nil {
		return nil, fmt.Errorf("signing key: %w", err)
	}
	return signer, nil
}

// NewKey makes an Ed25519 key: the private key's PEM file, as ssh-keygen
// writes it without passphrase, and the public key's line.
func NewKey(comment string) (private, authorizedLine []byte, err error) {
	if strings.ContainsAny(comment, "\r\n\x00") {
		return nil, nil, errors.New("new key: its comment has more than one line")
	}
	_, secret, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, nil, fmt.Errorf("new key: %w", err)
	}
	public, err := ssh.NewPublicKey(secret.Public())
	if err != nil {
		return nil, nil, fmt.Errorf("new key: %w", err)
	}
	block, err := ssh.MarshalPrivateKey(secret, comment)
	if err != nil {
		return nil, nil, fmt.Errorf("new key: %w", err)
	}
	line := strings.TrimSpace(KeyText(public) + " " + comment)
	return pem.EncodeToMemory(block), []byte(line + "\n"), nil
}

// ParseKey reads a public key that KeyText wrote, of a type that may sign.
func ParseKey(text string) (ssh.PublicKey, error) {
	s, err := parseLine("* " + text)
	if err == nil && KeyText(s.Key) != text {
		err = errors.New("not a public key alone, its type and its base64")
	}
	return s.Key, err
}

// KeyText is a public key as the lines of OpenSSH have it: its type and its base64.
func KeyText(key ssh.PublicKey) string {
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
}
