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

// KeyConfig is one key of a recipient: a line, of a key that age encrypts to or
// that signs receipts, or a file that holds an OpenPGP public key, with the
// fingerprint that the recipient has read out.
type KeyConfig struct {
	Line        string
	File        string
	Fingerprint string
	Until       strictyaml.Date // its last day on the clinic's clock, when another follows it

	path string
	pos  strictyaml.Pos
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (k *KeyConfig) UnmarshalNode(n strictyaml.Node) {
	if k.path, k.pos = n.Path(), n.Pos(); n.IsScalar() {
		n.Decode(&k.Line)
		if file, is := strings.CutPrefix(k.Line, "file:"); is {
			k.Line, k.File = "", file
		}
		return
	}
	var long struct {
		Key         string          `yaml:"key"`
		File        string          `yaml:"file"`
		Fingerprint string          `yaml:"fingerprint"`
		Until       strictyaml.Date `yaml:"until"`
	}
	n.Decode(&long)
	if (long.Key == "") == (long.File == "") {
		n.Fail("write {key: LINE, until: DATE}, or {file: FILE, fingerprint: …}", "a key is a line or a file")
	}
	k.Line, k.File, k.Fingerprint, k.Until = long.Key, long.File, long.Fingerprint, long.Until
}

// ReceiptKeys are written as one key or as a list of them.
type ReceiptKeys []KeyConfig

// UnmarshalNode implements strictyaml.Unmarshaler.
func (keys *ReceiptKeys) UnmarshalNode(n strictyaml.Node) {
	list := []strictyaml.Node{n}
	if n.IsList() {
		list = n.Items()
	}
	for _, n := range list {
		var k KeyConfig
		n.Decode(&k)
		*keys = append(*keys, k)
	}
}

// end is the first moment after the key's last day; the zero time: it has none.
func (k KeyConfig) end(zone *time.Location) time.Time {
	day := k.Until.Time()
	if day.IsZero() {
		return day
	}
	return time.Date(day.Year(), day.Month(), day.Day()+1, 0, 0, 0, 0, zone)
}

// approved adds the last day to a key as approvers sign it.
func (k KeyConfig) approved(text string) string {
	if k.Until.Time().IsZero() {
		return text
	}
	return text + " until " + k.Until.String()
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

// recipientKey reads one key of a recipient. Whatever is wrong, it says what is
// known; one whose last day is over has a trouble and no error.
func (a *Agent) recipientKey(recipient string, k KeyConfig) (transfer.Recipient, RecipientKey, error) {
	key, known, err := a.readKey(recipient, k)
	known.line = k.approved(known.line)
	end := k.end(a.Config.Zone)
	if end.IsZero() || !key.Expires.IsZero() && key.Expires.Before(end) {
		return key, known, err
	}
	key.Expires, known.Expires = end, k.Until.String()
	if !a.Now().Before(end) {
		known.Trouble, err = "its last day is over", nil
	}
	return key, known, err
}

func (a *Agent) readKey(recipient string, k KeyConfig) (transfer.Recipient, RecipientKey, error) {
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
	var fingerprints []string
	var expiries []time.Time
	for _, k := range x.recipient.EncryptTo {
		key, known, err := a.recipientKey(x.config.Recipient, k)
		x.sealLines = append(x.sealLines, known.line)
		if err != nil {
			mistakes = append(mistakes, err)
		} else if known.Trouble == "" {
			keys, fingerprints, expiries = append(keys, key), append(fingerprints, known.Fingerprint), append(expiries, key.Expires)
		}
	}
	a.warnOfEnds(x, "expires", fingerprints, expiries)
	fingerprints, expiries = nil, nil
	for _, k := range x.recipient.Receipt.Key {
		if end := k.end(a.Config.Zone); end.IsZero() || a.Now().Before(end) {
			fingerprints, expiries = append(fingerprints, keyFingerprint(k.Line)), append(expiries, end)
		}
	}
	a.warnOfEnds(x, "signs receipts and ends", fingerprints, expiries)
	slices.Sort(x.sealLines)
	var err error
	if len(mistakes) == 0 {
		x.envelope, err = transfer.NewEnvelope(keys, a.openPGP, a.Now())
		if err != nil && (a.openPGP != nil || a.Config.Keys.OpenPGP == "") { // otherwise `check` has said why there is no key
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

// warnOfEnds warns of keys that end soon, and says whether others go on.
func (a *Agent) warnOfEnds(x *exchange, ends string, fingerprints []string, expiries []time.Time) {
	soon := a.Now().Add(expiresSoon)
	remedy := "ask for its new one"
	if slices.ContainsFunc(expiries, func(end time.Time) bool { return end.IsZero() || end.After(soon) }) {
		remedy = "from then on its other key is used alone"
	}
	for i, end := range expiries {
		if !end.IsZero() && soon.After(end) {
			x.warnings = append(x.warnings, fmt.Sprintf("the key %s of %s %s on %s; %s", fingerprints[i], x.config.Recipient, ends, end.Add(-time.Second).In(a.Config.Zone).Format(time.DateOnly), remedy))
		}
	}
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
