package transfer

import (
	"bytes"
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/sshsig"
)

// IntroductionNamespace is that of the second signature in a manifest's signature
// file (PROTOCOL.sshsig §2): the one by the key that the manifest introduces.
const IntroductionNamespace = "postern-introduction"

// DropNamespaces are what a sender's key may sign, as its line in the allowed
// signers has them.
const DropNamespaces = DropNamespace + "," + RecallNamespace

var endOfSignature = []byte("-----END SSH SIGNATURE-----\n")

// signatures takes the signature's file apart: the sender's, and what follows it.
func (s *statement) signatures() (sender, second []byte) {
	if i := bytes.Index(s.signature, endOfSignature); i >= 0 {
		return s.signature[:i+len(endOfSignature)], s.signature[i+len(endOfSignature):]
	}
	return s.signature, nil
}

// checkIntroduction wants of a key that the manifest introduces that it signed
// the manifest, too: nobody introduces a key that is not theirs.
func (s *statement) checkIntroduction(m *Manifest) error {
	_, second := s.signatures()
	file := s.base.String() + signatureSuffix
	if m.Introduces == "" {
		if len(second) > 0 {
			return fault(IntroductionInvalid, file, "it holds more than one signature, and the manifest introduces no key")
		}
		return nil
	}
	key, err := sshsig.Verify(second, IntroductionNamespace, bytes.NewReader(s.manifest))
	if err != nil || sshsig.KeyText(key) != m.Introduces || m.Introduces == s.signer {
		return fault(IntroductionInvalid, file, "its second signature is not one over the manifest in namespace %s by another key, the one that the manifest introduces", IntroductionNamespace)
	}
	return nil
}

// signersFor adds to the allowed signers of the file the keys that the exchange
// of a drop has by introduction. They count as long as the key of the file on
// which they rest does; where the file has a line for one, that line counts.
func (r *Receiver) signersFor(mem *memory, base Base) *sshsig.AllowedSigners {
	all := &sshsig.AllowedSigners{Signers: slices.Clone(r.Signers.Signers)}
	for _, e := range mem.Exchanges {
		if e.Code != base.Code || e.Exchange != base.Exchange || !r.inFile(e.Sender, e.Root) {
			continue
		}
		for _, text := range []string{e.Signer, e.Next} {
			if key, err := sshsig.ParseKey(text); err == nil && !r.Signers.Names(e.Sender, key) {
				all.Signers = append(all.Signers, sshsig.AllowedSigner{Principals: []string{e.Sender}, Namespaces: []string{DropNamespace, RecallNamespace}, Key: key})
			}
		}
	}
	return all
}

// inFile tells whether the file of allowed signers lets the key sign the sender's drops now.
func (r *Receiver) inFile(sender, text string) bool {
	key, err := sshsig.ParseKey(text)
	return err == nil && r.Signers.Check(sender, key, DropNamespace, r.now()) == nil
}

// checkSigner refuses a key that is out of use in the exchange: another one has
// signed after it, or it has introduced its successor and signs as before.
func (e *exchangeMemory) checkSigner(m *Manifest, signer string) error {
	file := m.Base().String() + signatureSuffix
	switch {
	case slices.Contains(e.Retired, signer):
		return fault(SignerRetired, file, "another key has signed drops of this exchange after that one")
	case slices.Contains(e.Retired, m.Introduces):
		return fault(SignerRetired, file, "the key that it introduces was in use before")
	case signer == e.Signer && e.Next != "" && m.Introduces == "":
		return fault(SignerRetired, file, "its key has introduced another one, and does not do so again")
	}
	return nil
}

// signed notes who signed an accepted drop; inFile tells whether the file allows that key.
func (e *exchangeMemory) signed(m *Manifest, signer string, inFile bool) {
	if e.Signer != "" && e.Signer != signer {
		e.Retired = append(e.Retired, e.Signer)
	}
	if inFile {
		e.Root = signer
	}
	e.Signer, e.Next = signer, m.Introduces
}

// introduced is the fingerprint of the key that a manifest introduces, "" of one that introduces none.
func (m *Manifest) introduced() string {
	key, err := sshsig.ParseKey(m.Introduces)
	if err != nil {
		return ""
	}
	return ssh.FingerprintSHA256(key)
}
