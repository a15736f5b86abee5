package agent

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/transfer"
)

// EncryptionKey is one key of a recipient: a line that age encrypts to, or a
// file that holds an OpenPGP public key, with the fingerprint that the recipient
// has read out.
type EncryptionKey struct {
	Line        string
	File        string
	Fingerprint string

	path string
	pos  strictyaml.Pos
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (k *EncryptionKey) UnmarshalNode(n strictyaml.Node) {
	if k.path, k.pos = n.Path(), n.Pos(); n.IsScalar() {
		n.Decode(&k.Line)
		if file, is := strings.CutPrefix(k.Line, "file:"); is {
			k.Line, k.File = "", file
		}
		return
	}
	var file struct {
		File        string `yaml:"file,required"`
		Fingerprint string `yaml:"fingerprint,required"`
	}
	n.Decode(&file)
	k.File, k.Fingerprint = file.File, file.Fingerprint
}

// expiresSoon is how long before the end of a key `check` begins to warn.
const expiresSoon = 30 * 24 * time.Hour

// RecipientKey is what is known of a recipient's key. None of it is secret.
type RecipientKey struct {
	Recipient   string `json:"recipient"`
	File        string `json:"file,omitempty"` // of an OpenPGP key
	Fingerprint string `json:"fingerprint"`
	Algorithm   string `json:"algorithm"`
	Expires     string `json:"expires,omitempty"` // the day
	Trouble     string `json:"trouble,omitempty"` // why nothing is encrypted to it

	line string // in a closure
}

// recipientKey reads one key of a recipient. Whatever is wrong, it says what is known.
func (a *Agent) recipientKey(recipient string, k EncryptionKey) (transfer.Recipient, RecipientKey, error) {
	known := RecipientKey{Recipient: recipient, line: k.Line}
	wrong := func(err error, message, hint string) (transfer.Recipient, RecipientKey, error) {
		known.Trouble = message
		return transfer.Recipient{}, known, strictyaml.Mistake{File: a.Config.File, Line: k.pos.Line, Column: k.pos.Column, Path: k.path, Message: message, Hint: hint, Cause: err}
	}
	if k.File == "" {
		key, err := transfer.ParseRecipient(k.Line)
		if err != nil {
			return wrong(err, err.Error(), "ask the recipient for another one")
		}
		known.Fingerprint, known.Algorithm = key.Fingerprint, key.Algorithm
		return key, known, nil
	}
	known.File, known.line = k.File, line("file", k.File)
	text, err := os.ReadFile(a.Config.Path(k.File))
	if err != nil {
		return wrong(err, err.Error(), "save the key there that the recipient has sent")
	}
	key, err := transfer.ParseOpenPGP(text, a.Now())
	if err != nil && !errors.Is(err, transfer.ErrKeyLapsed) {
		return wrong(err, k.File+": "+err.Error(), "")
	}
	digits := strings.TrimPrefix(key.Fingerprint, "OpenPGP:")
	known.Fingerprint, known.Algorithm = key.Fingerprint, key.Algorithm
	known.line = fmt.Sprintf("%s sha256:%s", key.Fingerprint, hexSum(text)) // of the file: other subkeys make another key
	if !key.Expires.IsZero() {
		known.Expires = key.Expires.In(a.Config.Zone).Format(time.DateOnly)
	}
	switch given := strings.ToUpper(strings.Join(strings.Fields(k.Fingerprint), "")); {
	case given != digits:
		return wrong(nil, fmt.Sprintf("%s holds the key %s, and that is not the fingerprint beside it", k.File, digits),
			fmt.Sprintf("have the recipient read its fingerprint out by telephone; if it is this one, write {file: %s, fingerprint: %s}", k.File, digits))
	case err != nil:
		return wrong(err, k.File+": "+err.Error(), "ask the recipient for its new key")
	}
	return key, known, nil
}

// sealTo reads the keys of the exchange's recipient and makes the envelope of its
// drops. Without one nothing is sealed or delivered; a plan may still look.
func (a *Agent) sealTo(x *exchange) error {
	var keys []transfer.Recipient
	var mistakes []error
	for _, k := range x.recipient.EncryptTo {
		key, known, err := a.recipientKey(x.config.Recipient, k)
		x.sealLines = append(x.sealLines, known.line)
		if err != nil {
			mistakes = append(mistakes, err)
			continue
		}
		keys = append(keys, key)
		if end := key.Expires; !end.IsZero() && a.Now().Add(expiresSoon).After(end) {
			x.warnings = append(x.warnings, fmt.Sprintf("the key %s of %s expires on %s; ask for its new one", known.Fingerprint, x.config.Recipient, known.Expires))
		}
	}
	slices.Sort(x.sealLines)
	var err error
	if len(mistakes) == 0 {
		if x.envelope, err = transfer.NewEnvelope(keys, a.openPGP, a.Now()); err != nil {
			at := x.recipient.EncryptTo[0].pos
			mistakes = append(mistakes, strictyaml.Mistake{File: a.Config.File, Line: at.Line, Column: at.Column,
				Path: "recipients." + x.config.Recipient + ".encrypt_to", Message: err.Error(), Cause: err})
		}
	}
	if len(mistakes) == 0 {
		return nil
	}
	return fail(KeyTrouble, errors.Join(mistakes...), "", "")
}

// RecipientKeys tells of every key that drops are encrypted to.
func (a *Agent) RecipientKeys() []RecipientKey {
	list := []RecipientKey{}
	for _, name := range slices.Sorted(maps.Keys(a.Config.Recipients)) {
		for _, k := range a.Config.Recipients[name].EncryptTo {
			_, known, _ := a.recipientKey(name, k) // its trouble is part of what is known
			list = append(list, known)
		}
	}
	return list
}

// loadOpenPGP reads the clinic's own OpenPGP key, if it has one.
func (a *Agent) loadOpenPGP() error {
	ref := a.Config.Keys.OpenPGP
	if ref == "" {
		return nil
	}
	text, err := keyring.Resolve(ref, a.Config.Dir)
	if err == nil {
		a.openPGP, err = transfer.LoadOpenPGPKey(text)
	}
	if err != nil {
		return fail(KeyTrouble, err, "restore it from its backup; `postern keys new openpgp FILE --name NAME` makes a new one", "OpenPGP signing key")
	}
	return nil
}
