package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// testFolders gives every recipient a folder for tests.
func (h *house) testFolders() {
	h.t.Helper()
	for name, r := range h.agent.Config.Recipients {
		h.must(os.MkdirAll(h.tests(name), 0o700))
		if r.Destination.TestFolder = h.tests(name); r.Destination.SFTP != nil {
			r.Destination.TestFolder = "tests"
		}
		h.agent.Config.Recipients[name] = r
	}
}

func (h *house) tests(recipient string) string {
	return filepath.Join(h.world.Recipient(recipient).Dir, "tests")
}

// received opens a test drop as its recipient does.
func (h *house) received(sent *agent.TestSent, principal string) transfer.Result {
	h.t.Helper()
	keys, err := h.agent.PublicKeys(h.t.Context())
	h.must(err)
	line := strings.Replace(keys.AllowedSigners, h.agent.Config.Organization.ID+" ", principal+" ", 1)
	signers, err := sshsig.ParseAllowedSigners("signers", []byte(line+"\n"))
	h.must(err)
	text, err := os.ReadFile(filepath.Join(h.world.Recipient(sent.Recipient).Dir, "keys", "identity.txt"))
	h.must(err)
	identities, err := age.ParseIdentities(bytes.NewReader(text))
	h.must(err)
	r := transfer.Receiver{Name: sent.Recipient, Signers: signers, Identities: identities, Dir: filepath.Join(h.t.TempDir(), "received"), Now: h.agent.Now}
	results, err := r.Receive(h.t.Context(), h.tests(sent.Recipient))
	h.must(err)
	return results[len(results)-1]
}

// A test drop of each exchange has the parts and columns of the drop that a run
// makes, passes the recipient's checks, says what it is, and holds no word of
// the clinic's.
func TestTestDropHasTheShapeOfADrop(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*house{"demo": build(t, synthetic.Options{Patients: 60}), "library": libraryHouse(t, synthetic.Options{Patients: 60}), "layouts": layoutHouse(t), "changes": changesHouse(t)} {
		h.testFolders()
		words := h.clinicsWords()
		for _, e := range h.agent.Config.Exchanges {
			if e.Value.Recipient == publicHealth {
				continue // has the keys of another one here
			}
			sent, err := h.agent.SendTest(t.Context(), e.Key)
			if err != nil {
				t.Errorf("%s: %s: %v", name, e.Key, err)
				continue
			}
			if !strings.HasPrefix(sent.Drop, "testcv."+e.Value.ID+".000001") || sent.State != "hash-verified" {
				t.Errorf("%s: %+v", e.Key, sent)
			}
			if refused := h.received(sent, "clearview"); refused.Fault == nil || refused.Fault.Class != transfer.SignerNotSender {
				t.Errorf("%s: who takes no tests took one: %+v", e.Key, refused)
			}
			got := h.received(sent, "clearview.test")
			if got.Status != transfer.Accepted || got.Sender != "clearview.test" {
				t.Errorf("%s: %+v %v", e.Key, got, got.Fault)
				continue
			}
			h.run(e.Key, agent.RunOptions{})
			var real transfer.Book
			h.must(json.Unmarshal(h.bookOf(e.Key), &real))
			shapes := func(b *transfer.Book) (list []string) {
				for _, p := range b.Parts {
					list = append(list, fmt.Sprint(p.Dataset, p.Format, p.Columns, p.Part2, p.Action))
				}
				for _, n := range b.Notices {
					if !strings.HasPrefix(n.Kind, transfer.ScopeOfConsent) {
						list = append(list, n.Kind)
					}
				}
				return list
			}
			if !slices.Equal(shapes(&real), shapes(got.Book)) || got.Book.Standard != real.Standard {
				t.Errorf("%s: the shape is another:\n%v\n%v", e.Key, shapes(got.Book), shapes(&real))
			}
			if got.Rows < int64(len(real.Parts)) {
				t.Errorf("%s: only %d rows", e.Key, got.Rows)
			}
			h.holdsNone(got.Folder, words)
		}
	}
}

// changesHouse sends changes to the plan.
func changesHouse(t *testing.T) *house {
	t.Helper()
	h := build(t, synthetic.Options{Patients: 40})
	const policy = "policies/acme-scores.yaml"
	h.write(policy, strings.Replace(h.read(policy), "mode: full", "mode: delta", 1))
	return h
}

// bookOf is the recipient's book of the first drop of an exchange.
func (h *house) bookOf(exchange string) []byte {
	h.t.Helper()
	text, err := json.Marshal(h.drop(exchange, 1).book)
	h.must(err)
	return text
}

// clinicsWords are the cells of the extract and of the clinic's lists that are
// long enough to say whose they are.
func (h *house) clinicsWords() map[string]bool {
	h.t.Helper()
	words := map[string]bool{}
	for _, name := range []string{"extract/scores/scores.csv", "inputs/consents.csv", "inputs/programs.csv"} {
		for _, row := range h.rows(name) {
			for _, cell := range row {
				if len(cell) > 7 {
					words[cell] = true
				}
			}
		}
	}
	return words
}

func (h *house) holdsNone(folder string, words map[string]bool) {
	h.t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.0*"))
	h.must(err)
	for _, name := range files {
		text, err := os.ReadFile(name)
		if h.must(err); strings.HasSuffix(name, ".book.json") {
			continue
		}
		cells := strings.FieldsFunc(string(text), func(r rune) bool { return strings.ContainsRune(",\"\n:{}[]", r) })
		for _, cell := range cells {
			if words[cell] && !strings.Contains("not-hispanic, 1999000015", cell) {
				h.t.Errorf("%s holds a word of the clinic's: %q", filepath.Base(name), cell)
			}
		}
	}
}

// Each takes a number of its own and voids those before it; nothing else of the
// state changes, and what the exchange sends is numbered as if there were none.
func TestTestDropTakesNoNumber(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40})
	h.testFolders()
	state := func() string {
		return h.query(`SELECT (SELECT count(*) FROM delivery) || ' ' || (SELECT count(*) FROM row_key) || ' ' || (SELECT count(*) FROM code) || ' ' || (SELECT count(*) FROM epoch)`)
	}
	before := state()
	for n := range 3 {
		sent, err := h.agent.SendTest(t.Context(), scores)
		h.must(err)
		if got := h.received(sent, "clearview.test"); got.Status != transfer.Accepted || got.Sequence != int64(n+1) || len(got.Book.Voids) != n || got.Book.Previous != "" {
			t.Errorf("%+v %v", got, got.Fault)
		}
	}
	if state() != before {
		t.Errorf("the state was %s and is %s", before, state())
	}
	left, err := filepath.Glob(filepath.Join(h.dir, "state", "scratch", "*"))
	h.must(err)
	if len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
	if o := h.run(scores, agent.RunOptions{}); o.Number != 1 {
		t.Errorf("the first drop has the number %d", o.Number)
	}
	tree, err := h.agent.VerifyLedger(t.Context())
	h.must(err)
	if n := strings.Count(h.ledger(), `"kind":"test-drop"`); n != 3 || tree.Size < 4 {
		t.Errorf("%d test drops in the ledger", n)
	}
}

func (h *house) ledger() string {
	h.t.Helper()
	var b bytes.Buffer
	h.must(h.agent.ShowLedger(h.t.Context(), &b))
	return b.String()
}

func TestTestDropNeedsAFolder(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 40})
	_, err := h.agent.SendTest(t.Context(), scores)
	if agent.ExitCode(err) != int(agent.Configuration) || !strings.Contains(err.Error(), "recipients.acme-health-plan.destination has no folder for test drops; ask the recipient for a folder for tests, and add test_folder: FOLDER there") {
		t.Error(err)
	}
}
