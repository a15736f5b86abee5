package agent_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/ledger"
	"github.com/posternhealth/postern/transfer"
)

// sharedPeer skips a test whose peer is missing, or fails it where all are required.
func sharedPeer(t testing.TB, name string, there bool) {
	t.Helper()
	if there {
		return
	}
	if os.Getenv("POSTERN_REQUIRE") == "all" {
		t.Fatalf("peer %s is missing", name)
	}
	t.Skipf("peer %s is missing", name)
}

// sharedFolder is the absolute path of a folder of shared data.
func sharedFolder(t testing.TB, name string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join("../../shared/data", name))
	if err != nil {
		t.Fatal(err)
	}
	_, err = os.Stat(path)
	sharedPeer(t, "shared data", err == nil)
	return path
}

// sharedClinic is a clinic as its IT would set it up: one source, one consent
// registry, one recipient whose inbox is a folder, exchanges of its own.
type sharedClinic struct {
	dir, config, inbox, archive string
	identity                    *age.X25519Identity
	agent                       *agent.Agent
}

const sharedConfig = `postern: config/v1
demo: true
organization: {name: Clearview Behavioral Health, id: clearview, code: cv, time_zone: America/Chicago}
state: state
keys:
  master: file:keys/master.key
  drop_signing: file:keys/drop-signing
  checkpoint: file:keys/checkpoint
  archive: %s
sources:
  ehr:
%s
inputs:
  consents: {kind: consent-registry, file: consents.csv, max_age: 7 days, shrink_limit: 1%%}
approvers:
%srecipients:
  partner-hie:
    kind: hie
    name: Partner Health Information Exchange
    encrypt_to: [%s]
    receipt: {mode: none}
    destination: {folder: {path: %s, receipts: %s}}
exchanges:
%s`

// newSharedClinic writes the configuration. Policies are named by exchange,
// and are read where they lie in testdata.
func newSharedClinic(t testing.TB, source string, policies map[string]string, registry string) *sharedClinic {
	t.Helper()
	root := t.TempDir()
	c := &sharedClinic{dir: filepath.Join(root, "clinic"), inbox: filepath.Join(root, "recipient", "inbox")}
	c.config = filepath.Join(c.dir, "postern.yaml")
	receipts := filepath.Join(root, "recipient", "receipts")
	for _, dir := range []string{c.dir, c.inbox, receipts, filepath.Join(root, "safe")} {
		must(t, os.MkdirAll(dir, 0o700))
	}
	keys, err := agent.NewKeys(c.dir, filepath.Join(root, "safe"))
	must(t, err)
	c.archive = keys.ArchiveIdentity
	c.identity, err = age.GenerateX25519Identity()
	must(t, err)
	approvers, err := demo.NewApprovers(c.approvers())
	must(t, err)
	people, exchanges := "", ""
	for _, p := range approvers {
		people += fmt.Sprintf("  - {name: %q, key: %s}\n", p.Name, p.Key)
	}
	for i, name := range slices.Sorted(maps.Keys(policies)) {
		policy, err := filepath.Abs(filepath.Join("testdata", policies[name]))
		must(t, err)
		exchanges += fmt.Sprintf("  %s: {id: e%d, source: ehr, policy: %s, recipient: partner-hie}\n", name, i+1, policy)
	}
	must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte(registry), 0o600))
	must(t, os.WriteFile(c.config, fmt.Appendf(nil, sharedConfig, keys.Archive, source, people, c.identity.Recipient(), c.inbox, receipts, exchanges), 0o600))
	must(t, demo.Confirm(t.Context(), c.config, approvers))
	a, err := agent.Open(t.Context(), c.config, hclog.NewNullLogger())
	must(t, err)
	must(t, demo.Approve(t.Context(), a, c.approvers(), slices.Collect(maps.Keys(policies))...))
	must(t, a.Close())
	return c
}

func (c *sharedClinic) approvers() string { return filepath.Join(c.dir, "..", "approvers") }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// open opens the agent, which writes what it logs to log.
func (c *sharedClinic) open(t testing.TB, log io.Writer) {
	t.Helper()
	a, err := agent.Open(t.Context(), c.config, hclog.New(&hclog.LoggerOptions{Level: hclog.Trace, Output: log}))
	must(t, err)
	t.Cleanup(func() { must(t, a.Close()) })
	c.agent = a
}

// receive does what the recipient does, and gives the plaintext of each part of
// records.
func (c *sharedClinic) receive(t testing.TB, exchange string) (plain [][]byte, result transfer.Result) {
	t.Helper()
	keys, err := c.agent.PublicKeys(t.Context())
	must(t, err)
	signers, err := sshsig.ParseAllowedSigners("allowed_signers", []byte(keys.AllowedSigners+"\n"))
	must(t, err)
	r := &transfer.Receiver{
		Name: "partner-hie", Signers: signers, Identities: []age.Identity{c.identity}, Dir: t.TempDir(), Now: time.Now,
		CheckLedger: func(seen string, now transfer.Ledger) error {
			return ledger.VerifyContinues([]byte(seen), []byte(now.Checkpoint), keys.CheckpointKey, now.Proof)
		},
	}
	results, err := r.Receive(t.Context(), c.inbox)
	must(t, err)
	for _, result = range results {
		if result.Exchange != exchange {
			continue
		}
		if result.Status != transfer.Accepted {
			t.Fatalf("the recipient says %s: %v", result.Status, result.Fault)
		}
		files, err := filepath.Glob(filepath.Join(result.Folder, "*.[0-9][0-9][0-9].*"))
		must(t, err)
		if len(files) != len(result.Book.Parts) {
			t.Fatalf("%d parts, the book says %d", len(files), len(result.Book.Parts))
		}
		for i, file := range files { // in the order of their numbers, as the book's
			text, err := os.ReadFile(file)
			must(t, err)
			if result.Book.Parts[i].Dataset != transfer.ScopeOfConsent {
				plain = append(plain, text)
			}
		}
		return plain, result
	}
	t.Fatalf("no drop of exchange %s has arrived", exchange)
	return nil, result
}

// private opens one of the clinic's own files beside a drop with the archive's
// private key, which no agent has.
func (c *sharedClinic) private(t testing.TB, exchange, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(c.archive)
	must(t, err)
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	must(t, err)
	file, err := os.Open(c.privateFile(t, exchange, name))
	must(t, err)
	defer file.Close()
	packed, err := age.Decrypt(file, identities...)
	must(t, err)
	plain, err := zstd.NewReader(packed)
	must(t, err)
	defer plain.Close()
	data, err := io.ReadAll(plain)
	must(t, err)
	return data
}

func (c *sharedClinic) privateFile(t testing.TB, exchange, name string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(c.dir, "state", "drops", exchange+".*", "private", "*."+name+".zst.age"))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("%d files %s of exchange %s, want 1", len(found), name, exchange)
	}
	return found[0]
}

const (
	sharedNDJSON = `      - {match: "*.ndjson", format: fhir-ndjson}
      - {match: "*.ndjson.gz", format: fhir-ndjson}`
	sharedDeep = `      - {match: "*/*.ndjson", format: fhir-ndjson}`
	sharedJSON = `      - {match: "*.json", format: fhir-json}
      - {match: "*.json.gz", format: fhir-json}`
)

// sharedSource writes the source of a folder of shared data.
func sharedSource(folder, ignore, files string) string {
	text := "    folder: " + folder + "\n    complete: {stable_for: 1 second}\n"
	if ignore != "" {
		text += "    ignore: [" + ignore + "]\n"
	}
	return text + "    files:\n" + files
}
