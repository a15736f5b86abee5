package agent

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"filippo.io/age"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/sshsig"
)

// Keys are the public halves of the keys that NewKeys made.
type Keys struct {
	DropSigning     string // authorized-key line
	Checkpoint      string // authorized-key line
	Archive         string // age recipient
	ArchiveIdentity string // path of the private half, to be moved off this machine
}

// NewKeys makes a clinic's keys below dir/keys. It never overwrites: a key
// that exists is an error. The archive's private key is written to
// archiveDir, from where it belongs into a safe.
func NewKeys(dir, archiveDir string) (*Keys, error) {
	folder := filepath.Join(dir, "keys")
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if err := keyring.NewMasterFile(filepath.Join(folder, "master.key")); err != nil {
		return nil, err
	}
	k := &Keys{ArchiveIdentity: filepath.Join(archiveDir, "archive-identity.txt")}
	for _, key := range []struct {
		name   string
		public *string
	}{{"drop-signing", &k.DropSigning}, {"checkpoint", &k.Checkpoint}} {
		private, public, err := sshsig.NewKey("postern " + key.name)
		if err != nil {
			return nil, err
		}
		if err := durable.WriteFile(filepath.Join(folder, key.name), private, 0o600); err != nil {
			return nil, err
		}
		if err := durable.WriteFile(filepath.Join(folder, key.name+".pub"), public, 0o644); err != nil {
			return nil, err
		}
		*key.public = string(public)
	}
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return nil, err
	}
	k.Archive = identity.Recipient().String()
	return k, durable.WriteFile(k.ArchiveIdentity, []byte("# public key: "+k.Archive+"\n"+identity.String()+"\n"), 0o600)
}

// Init makes a first configuration in dir: keys, folders, and a postern.yaml
// whose places to fill in are marked. It refuses a folder that has one.
func Init(dir string) (*Keys, error) {
	config := filepath.Join(dir, "postern.yaml")
	if _, err := os.Stat(config); !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(Usage, err, "name another folder", "%s exists already, and init never overwrites", config)
	}
	for _, folder := range []string{"extract", "inputs", "policies", "schemas", "archive-key"} {
		if err := durable.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, err
		}
	}
	keys, err := NewKeys(dir, filepath.Join(dir, "archive-key"))
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "make keys")
	}
	return keys, durable.WriteFile(config, fmt.Appendf(nil, firstConfig, keys.Archive), 0o600)
}

const firstConfig = `# Postern's configuration. Relative paths are relative to this file.
# "postern check" says what is still to be filled in.
postern: config/v1
organization:
  name: FILL IN the clinic's name
  id: FILL IN a short name, small letters
  code: FILL IN two letters for file names
  time_zone: America/Chicago
state: state
keys:
  master: file:keys/master.key
  drop_signing: file:keys/drop-signing
  checkpoint: file:keys/checkpoint
  archive: %s        # its private half lies in archive-key/: move it to a safe
sources:
  ehr:
    folder: extract
    complete: {marker: _COMPLETE}
    files:
      - {match: "*.ndjson*", format: fhir-ndjson}
inputs:
  consents:     {kind: consent-registry, file: inputs/consents.csv, max_age: 1 day, shrink_limit: 1%%}
  restrictions: {kind: restrictions, file: inputs/restrictions.csv, max_age: 1 day, shrink_limit: 0%%}
  programs:     {kind: programs, file: inputs/programs.csv, max_age: 365 days, shrink_limit: 0%%}
recipients:
  payer:
    kind: health-plan
    name: FILL IN the recipient's name
    encrypt_to: [FILL IN the recipient's age1… line]
    receipt: {mode: signed, key: FILL IN the recipient's ssh-ed25519 line for receipts}
    destination:
      sftp:
        host: FILL IN the server's name
        user: FILL IN the account
        key: file:keys/sftp-login
        host_key: FILL IN the server's ssh-ed25519 line, confirmed by telephone
        folder: inbox
        receipts: receipts
exchanges:
  scores: {id: x1, source: ehr, policy: policies/scores.yaml, recipient: payer, schedule: "30 2 5 * *"}
`
