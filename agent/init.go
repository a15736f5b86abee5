package agent

import (
	_ "embed" // the first files
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"filippo.io/age"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/policies"
)

// Keys are the public halves of the keys that were made.
type Keys struct {
	DropSigning     string `json:"drop_signing"`         // authorized-key line
	Checkpoint      string `json:"checkpoint"`           // authorized-key line
	Archive         string `json:"archive"`              // age recipient
	ArchiveIdentity string `json:"archive_identity"`     // path of the private half, to be moved off this machine
	Review          string `json:"review"`               // age recipient
	ReviewIdentity  string `json:"review_identity"`      // likewise
	Login           string `json:"sftp_login,omitempty"` // authorized-key line, made by Init
}

// NewKeys makes a clinic's keys below dir/keys. It never overwrites: a key
// that exists is an error. The private halves of the archive's key and of the
// review key are written to archiveDir: the one belongs into a safe, the other
// to whoever looks at what the gate has stopped.
func NewKeys(dir, archiveDir string) (*Keys, error) {
	folder := filepath.Join(dir, "keys")
	if err := durable.MkdirAll(folder, 0o700); err != nil {
		return nil, err
	}
	if err := keyring.NewMasterFile(filepath.Join(folder, "master.key"), ""); err != nil {
		return nil, err
	}
	k := &Keys{ArchiveIdentity: filepath.Join(archiveDir, "archive-identity.txt"), ReviewIdentity: filepath.Join(archiveDir, "review-identity.txt")}
	var err error
	for _, key := range []struct {
		name   string
		public *string
	}{{"drop-signing", &k.DropSigning}, {"checkpoint", &k.Checkpoint}} {
		if *key.public, err = newSigningKey(filepath.Join(folder, key.name), "postern "+key.name); err != nil {
			return nil, err
		}
	}
	if k.Archive, err = newIdentity(k.ArchiveIdentity); err != nil {
		return nil, err
	}
	k.Review, err = newIdentity(k.ReviewIdentity)
	return k, err
}

// newIdentity makes an age key and gives its public half.
func newIdentity(path string) (string, error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", err
	}
	public := identity.Recipient().String()
	return public, durable.WriteFile(path, []byte("# public key: "+public+"\n"+identity.String()+"\n"), 0o600)
}

// Init makes a first clinic in dir: keys, folders, a configuration, a policy and
// the library of policies, in which the places to fill in are marked, and the
// schema by which editors know the language. It refuses a folder that has a
// configuration. Protective inputs it does not make: an empty list of
// restrictions would say that nobody has restricted anything.
func Init(dir string) (*Keys, error) {
	config := filepath.Join(dir, "postern.yaml")
	if _, err := os.Stat(config); err == nil {
		return nil, fail(Usage, nil, "name another folder", "%s exists already, and init never overwrites", config)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fail(Usage, err, "name another folder", "%s", dir)
	}
	for _, folder := range []string{"extract", "inputs", "policies", "archive-key"} {
		if err := durable.MkdirAll(filepath.Join(dir, folder), 0o700); err != nil {
			return nil, err
		}
	}
	keys, err := NewKeys(dir, filepath.Join(dir, "archive-key"))
	if err == nil {
		keys.Login, err = newSigningKey(filepath.Join(dir, "keys", "sftp-login"), "postern sftp-login")
	}
	if err != nil {
		return nil, fail(KeyTrouble, err, "name a folder without keys", "make keys")
	}
	if err := os.CopyFS(filepath.Join(dir, "policies"), policies.Library()); err != nil {
		return nil, fail(Usage, err, "name a folder without policies", "lay the library")
	}
	for _, file := range []struct{ name, text string }{
		{filepath.Join("inputs", "README.txt"), firstInputs},
		{filepath.Join("policies", "policy.schema.json"), string(policies.JSONSchema())},
		{filepath.Join("policies", "scores.yaml"), firstPolicy},
		{"postern.yaml", strings.NewReplacer("ARCHIVE-KEY", keys.Archive, "REVIEW-KEY", keys.Review).Replace(firstConfig)}, // last: with it, init is done
	} {
		if err := durable.WriteFile(filepath.Join(dir, file.name), []byte(file.text), 0o600); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

//go:embed first/postern.yaml
var firstConfig string

//go:embed first/policy.yaml
var firstPolicy string

//go:embed first/inputs.txt
var firstInputs string
