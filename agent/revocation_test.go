package agent_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/go-hclog"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/agent/demo"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
	"github.com/posternhealth/postern/transfer/sftptest"
)

func (h *house) recipient(exchange string) *demo.Recipient {
	h.t.Helper()
	config, err := h.agent.Config.Exchange(exchange)
	h.must(err)
	return h.world.Recipient(config.Recipient)
}

func (h *house) deliver(exchange string) []agent.Delivered {
	h.t.Helper()
	done, err := h.agent.Deliver(context.Background(), exchange)
	h.must(err)
	return done
}

// receive is the recipient looking at its inbox; only what is new is given.
func (h *house) receive(exchange string) (results []transfer.Result) {
	h.t.Helper()
	for _, result := range h.receiveAny(exchange) {
		if result.Fault != nil {
			h.t.Fatalf("the recipient refused %s: %v", result.Drop, result.Fault)
		}
		if result.Status != transfer.Repeated {
			results = append(results, result)
		}
	}
	return results
}

// receiveAny gives the drops that the recipient refused, and those it had before, too.
func (h *house) receiveAny(exchange string) []transfer.Result {
	h.t.Helper()
	r := h.recipient(exchange)
	receiver, err := h.world.Receiver(r)
	h.must(err)
	all, err := receiver.Receive(context.Background(), r.Inbox())
	h.must(err)
	return all
}

// inbox lists what the recipient's server holds of a number, private names of
// uploads included.
func (h *house) inbox(exchange string, number int64) (names []string) {
	h.t.Helper()
	entries, err := os.ReadDir(h.recipient(exchange).Inbox())
	h.must(err)
	for _, e := range entries {
		if strings.Contains(e.Name(), fmt.Sprintf(".%06d.", number)) {
			names = append(names, e.Name())
		}
	}
	return names
}

func (h *house) state(exchange string, number int64) string {
	return h.query(`SELECT state FROM delivery WHERE exchange = ? AND number = ?`, exchange, number)
}

// released finds in a drop of scores a member with one row in the roster and
// nothing in the registry, and gives the clinic's id, the encounter of one
// released row, and the member number.
func (h *house) released(d *drop) (person, encounter, member string) {
	h.t.Helper()
	others := h.read(consentsCSV) + h.read(consentsFHIR) + h.read(restrictCSV)
	roster := h.read(rosterCSV)
	for _, line := range d.rows() {
		cells := strings.Split(line, ",")
		for _, row := range h.rows(rosterCSV) {
			if row[1] != cells[0] || strings.Contains(others, row[0]) || strings.Count(roster, row[0]) != 1 {
				continue
			}
			for _, score := range h.rows(scoresCSV) {
				if score[1] == row[0] && score[3] == cells[2] && score[2] != "" {
					return row[0], score[2], row[1]
				}
			}
		}
	}
	h.t.Fatal("no plain member was released")
	return "", "", ""
}

func has(d *drop, text string) bool { return bytes.Contains(joined(d), []byte(text)) }

const optOut = `{"resourceType":"Consent","id":"K-new","status":"active","scope":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/consentscope","code":"patient-privacy"}]},"category":[{"coding":[{"system":"http://loinc.org","code":"59284-0"}]}],"patient":{"reference":"Patient/%s"},"dateTime":"2026-07-04","policyRule":{"coding":[{"system":"http://terminology.hl7.org/CodeSystem/v3-ActCode","code":"OPTOUT"}]}}`

// TestWhatArrivesBeforeDeliveryVoids: whatever takes a released record's
// permit between seal and delivery takes the drop back, and the next number
// says so to the recipient.
func TestWhatArrivesBeforeDeliveryVoids(t *testing.T) {
	t.Parallel()
	for name, arrive := range map[string]struct {
		reason string
		change func(h *house, person, encounter string)
	}{
		"a denial in the registry": {"consent-denied", func(h *house, person, _ string) {
			h.add(consentsCSV, registry(person, "general", "deny", "active", "2026-07-04", ""))
		}},
		"a revocation in the registry": {"consent-revoked", func(h *house, person, _ string) {
			h.add(consentsCSV, registry(person, "general", "permit", "revoked", "2026-07-04", ""))
		}},
		"a FHIR Consent": {"consent-denied", func(h *house, person, _ string) {
			h.add(consentsFHIR, fmt.Sprintf(optOut, person))
		}},
		"a visit paid by the patient": {"restriction-self-pay", func(h *house, person, encounter string) {
			h.add(restrictCSV, person+",self-pay,acme-health-plan,,"+encounter+",,,,,")
		}},
		"membership lost": {"not-a-member", func(h *house, person, _ string) {
			if n := h.change(rosterCSV, func(line string) string {
				if strings.HasPrefix(line, person+",") {
					return ""
				}
				return line
			}); n != 1 {
				h.t.Fatalf("%d rows of the roster were removed", n)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, synthetic.Options{Patients: 100})
			h.run(scores, agent.RunOptions{})
			h.deliver(scores)
			if got := h.receive(scores); len(got) != 1 || got[0].Status != transfer.Accepted {
				t.Fatalf("first drop: %+v", got)
			}
			before := h.run(scores, agent.RunOptions{})
			person, encounter, member := h.released(h.drop(scores, 2))
			arrive.change(h, person, encounter)

			done := h.deliver(scores)
			if len(done) != 1 || done[0].State != "voided" || done[0].Reason != arrive.reason || len(done[0].Files) > 0 {
				t.Fatalf("delivery: %+v", done)
			}
			if names := h.inbox(scores, 2); len(names) > 0 {
				t.Errorf("of the voided drop the recipient has %v", names)
			}
			if again := h.deliver(scores); len(again) > 0 {
				t.Errorf("the voided drop was taken up again: %+v", again)
			}

			after := h.run(scores, agent.RunOptions{})
			next := h.drop(scores, 3)
			if !slices.Equal(next.manifest.Voids, []int64{2}) || next.manifest.Previous != manifestSum(h, 1) {
				t.Errorf("the next manifest voids %v after %s", next.manifest.Voids, next.manifest.Previous)
			}
			if after.Released >= before.Released || reasons(after)[arrive.reason] <= reasons(before)[arrive.reason] {
				t.Errorf("released %d, then %d", before.Released, after.Released)
			}
			if arrive.reason != "restriction-self-pay" && has(next, member) {
				t.Error("the person is in the next drop")
			}
			h.deliver(scores)
			got := h.receive(scores)
			if len(got) != 1 || got[0].Status != transfer.Accepted || got[0].Sequence != 3 || got[0].Rows != after.Released {
				t.Errorf("the recipient on the gap: %+v", got)
			}
		})
	}
}

func manifestSum(h *house, number int64) string {
	return h.query(`SELECT manifest FROM delivery WHERE exchange = ? AND number = ?`, scores, number)
}

// TestOptInRevoked: the permit that the records rest on is itself revoked.
func TestOptInRevoked(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	person := h.optedIn()[0]
	h.run(treatment, agent.RunOptions{})
	if !has(h.drop(treatment, 1), "Patient/"+person) {
		t.Fatal("the person was not released")
	}
	if n := h.change(consentsCSV, func(line string) string {
		if strings.HasPrefix(line, person+",general,permit,") {
			return strings.Replace(line, ",active,", ",revoked,", 1)
		}
		return line
	}); n != 1 {
		t.Fatalf("%d rows were revoked", n)
	}
	if done := h.deliver(treatment); done[0].State != "voided" || done[0].Reason != "consent-revoked" {
		t.Fatalf("delivery: %+v", done)
	}
	// The very first number is void: the recipient begins at the second.
	h.run(treatment, agent.RunOptions{})
	next := h.drop(treatment, 2)
	if has(next, "Patient/"+person) || !slices.Equal(next.manifest.Voids, []int64{1}) || next.manifest.Previous != "" {
		t.Errorf("voids %v after %q", next.manifest.Voids, next.manifest.Previous)
	}
	h.deliver(treatment)
	if got := h.receive(treatment); len(got) != 1 || got[0].Status != transfer.Accepted {
		t.Errorf("the recipient on the gap: %+v", got)
	}
}

// breaking puts a server that breaks before the recipient's inbox.
func (h *house) breaking(exchange string, o sftptest.Options) {
	h.t.Helper()
	r := h.recipient(exchange)
	login, err := ssh.ParsePrivateKey([]byte(h.read("keys/sftp-login")))
	h.must(err)
	o.Root, o.Key = r.Dir, login.PublicKey()
	server, err := sftptest.Start(o)
	h.must(err)
	h.t.Cleanup(func() { _ = server.Close() })
	_, port, _ := strings.Cut(server.Addr(), ":")
	text := strings.Replace(h.read("postern.yaml"), "port: "+r.Port, "port: "+port, 1)
	text = strings.Replace(text, r.HostKey, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(server.HostKey.PublicKey()))), 1)
	h.write("postern.yaml", text)
	h.open(hclog.NewNullLogger())
	h.approve(exchange)
}

// TestRevocationAfterAllOfTheUpload: an agent that died between the end of an
// upload and its record finds at the next attempt that the recipient has the
// whole drop. It was lawful when it went; a revocation since then voids nothing
// and tells nobody.
func TestRevocationAfterAllOfTheUpload(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	h.run(scores, agent.RunOptions{})
	d := h.drop(scores, 1)
	index := filepath.Join(h.dir, "state", "drops")
	kept := filepath.Join(t.TempDir(), "drops")
	h.must(os.CopyFS(kept, os.DirFS(index)))
	key := h.query(`SELECT hex(index_key) FROM delivery`)
	h.deliver(scores)
	h.must(os.RemoveAll(index))
	h.must(os.CopyFS(index, os.DirFS(kept)))
	h.exec(`UPDATE delivery SET state = 'uploading', index_key = unhex(?)`, key)
	person, _, _ := h.released(d)
	h.add(consentsCSV, registry(person, "general", "deny", "active", "2026-07-04", ""))
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "stored" {
		t.Fatalf("delivery: %+v", done)
	}
	if results := h.receive(scores); len(results) != 1 || results[0].Status != transfer.Accepted {
		t.Fatalf("the recipient: %+v", results)
	}
}

// TestRevocationAfterPartOfTheUpload: what had gone is taken back where the
// server allows it, and the drop stands in the ledger as possibly disclosed.
func TestRevocationAfterPartOfTheUpload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		server sftptest.Options
		note   string
		left   bool
	}{
		"withdrawn":             {sftptest.Options{}, "withdrawn from the destination", false},
		"nothing is removed":    {sftptest.Options{Refuse: []string{"Remove"}}, "possibly disclosed in part, and its files could not all", true},
		"the line breaks in it": {sftptest.Options{CutAt: "Remove"}, "withdrawn from the destination", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := build(t, synthetic.Options{Patients: 100})
			h.run(scores, agent.RunOptions{})
			d := h.drop(scores, 1)
			first := d.sizes[d.manifest.Files[0].Name]
			c.server.CutAfter = first + 1000
			h.breaking(scores, c.server)
			if _, err := h.agent.Deliver(context.Background(), scores); agent.ExitCode(err) != int(agent.DestinationDown) {
				t.Fatalf("delivery over a cut connection: %v", err)
			}
			if names := h.inbox(scores, 1); !slices.Contains(names, d.manifest.Files[0].Name) || slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".done") }) {
				t.Fatalf("after the cut the recipient has %v", names)
			}
			// What the server allows is asked anew, unless each probe leaves a file there.
			if probed := h.query(`SELECT json_extract(plan, '$.probed') FROM probe`); c.server.CutAt == "" && strings.HasPrefix(probed, "0001-") == c.left {
				t.Errorf("after the cut the server counts as probed at %s", probed)
			}
			person, _, _ := h.released(d)
			h.add(consentsCSV, registry(person, "general", "deny", "active", "2026-07-04", ""))
			if c.server.CutAt != "" {
				if _, err := h.agent.Deliver(context.Background(), scores); agent.ExitCode(err) != int(agent.DestinationDown) || h.state(scores, 1) != "uploading" {
					t.Fatalf("the line broke, and the drop is %s: %v", h.state(scores, 1), err)
				}
			}
			if done := h.deliver(scores); len(done) != 1 || done[0].State != "voided" {
				t.Fatalf("delivery: %+v", done)
			}
			if names := h.inbox(scores, 1); len(names) > 0 != c.left {
				t.Errorf("the recipient has %v", names)
			}
			if note := h.query(`SELECT note FROM delivery`); !strings.Contains(note, c.note) {
				t.Errorf("note: %s", note)
			}
			if h.query(`SELECT exposed FROM delivery`) != "1" {
				t.Error("that a part had gone is not recorded")
			}
			var events strings.Builder
			h.must(h.agent.ShowLedger(context.Background(), &events))
			if !strings.Contains(events.String(), `"possibly_disclosed":true`) {
				t.Errorf("the ledger does not say that a part may have been disclosed:\n%s", events.String())
			}
		})
	}
}

// TestLaterDropsFallWithAVoidedOne: they were built upon it.
func TestLaterDropsFallWithAVoidedOne(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 100})
	h.run(scores, agent.RunOptions{})
	person, _, _ := h.released(h.drop(scores, 1))
	h.run(scores, agent.RunOptions{})
	h.add(consentsCSV, registry(person, "general", "deny", "active", "2026-07-04", ""))
	h.run(scores, agent.RunOptions{}) // without the person, and lawful by itself
	h.deliver(scores)
	for number := int64(1); number <= 3; number++ {
		if state := h.state(scores, number); state != "voided" {
			t.Errorf("drop %d is %s", number, state)
		}
	}
	h.run(scores, agent.RunOptions{})
	if voids := h.drop(scores, 4).manifest.Voids; !slices.Equal(voids, []int64{1, 2, 3}) {
		t.Errorf("the next manifest voids %v", voids)
	}
	h.deliver(scores)
	if got := h.receive(scores); len(got) != 1 || got[0].Status != transfer.Accepted {
		t.Errorf("the recipient on the gap: %+v", got)
	}
}

// TestStaleConsentsBlockDelivery: what cannot be judged by fresh consents does
// not go; nothing is voided by it either.
func TestStaleConsentsBlockDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 60})
	h.run(scores, agent.RunOptions{})
	path := filepath.Join(h.dir, consentsCSV)
	h.must(os.Chtimes(path, noon, noon.Add(-25*time.Hour)))
	done, err := h.agent.Deliver(context.Background(), scores)
	if agent.ExitCode(err) != 17 {
		t.Fatalf("delivery by stale consents: %+v, %v", done, err)
	}
	if names := h.inbox(scores, 1); len(names) > 0 || h.state(scores, 1) != "sealed" {
		t.Fatalf("the drop is %s, the recipient has %v", h.state(scores, 1), names)
	}
	h.must(os.Chtimes(path, noon, noon.Add(-23*time.Hour)))
	if done := h.deliver(scores); len(done) != 1 || done[0].State != "hash-verified" {
		t.Fatalf("delivery by fresh consents: %+v", done)
	}
	if got := h.receive(scores); len(got) != 1 || got[0].Status != transfer.Accepted {
		t.Errorf("the recipient: %+v", got)
	}
}

// deny adds a denial of a released member to the registry and gives the row.
func (h *house) deny(person string) (row string) {
	row = registry(person, "general", "deny", "active", "2026-07-04", "")
	h.add(consentsCSV, row)
	return row
}

// lose takes a row out of the registry again, as a broken export would.
func (h *house) lose(row string) {
	h.t.Helper()
	if n := h.change(consentsCSV, func(line string) string {
		if line == row {
			return ""
		}
		return line
	}); n != 1 {
		h.t.Fatalf("%d rows were lost", n)
	}
}

// TestVanishedDenialStillDenies: only an explicit end with date and author
// opens again what a row has closed.
func TestVanishedDenialStillDenies(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 200})
	h.run(scores, agent.RunOptions{})
	person, _, member := h.released(h.drop(scores, 1))
	row := h.deny(person)
	h.run(scores, agent.RunOptions{})
	if has(h.drop(scores, 2), member) {
		t.Fatal("a denial does not deny")
	}
	h.lose(row)
	h.run(scores, agent.RunOptions{})
	if has(h.drop(scores, 3), member) {
		t.Error("a denial that vanished from the registry opened the door")
	}
	h.run(treatment, agent.RunOptions{})
	if has(h.drop(treatment, 1), person) {
		t.Error("a denial that vanished opened the door of another exchange")
	}
	h.add(consentsCSV, strings.TrimSuffix(row, ",,")+",2026-07-05,privacy officer")
	h.run(scores, agent.RunOptions{})
	if !has(h.drop(scores, 4), member) {
		t.Error("an explicit end of the denial ends nothing")
	}
}

// TestDenialSeenOnlyAtDelivery: the reading before a delivery counts as one
// too, or a drop would be voided for a denial that the next run forgets.
func TestDenialSeenOnlyAtDelivery(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 200})
	h.run(scores, agent.RunOptions{})
	person, _, member := h.released(h.drop(scores, 1))
	row := h.deny(person)
	if done := h.deliver(scores); done[0].State != "voided" {
		t.Fatalf("delivery: %+v", done)
	}
	h.lose(row)
	h.run(scores, agent.RunOptions{})
	if has(h.drop(scores, 2), member) {
		t.Error("the denial that voided the drop is forgotten")
	}
}

// TestDenialOfAnotherRunIsKept: a run that read its inputs before another one
// committed a denial must not wipe it out.
func TestDenialOfAnotherRunIsKept(t *testing.T) {
	t.Parallel()
	h := build(t, synthetic.Options{Patients: 200})
	h.run(scores, agent.RunOptions{})
	person, _, member := h.released(h.drop(scores, 1))
	meanwhile := false
	h.run(treatment, agent.RunOptions{Progress: func(string, int64) {
		if meanwhile {
			return
		}
		meanwhile = true
		row := h.deny(person)
		h.run(scores, agent.RunOptions{})
		h.lose(row)
	}})
	h.run(scores, agent.RunOptions{})
	if !meanwhile || has(h.drop(scores, 2), member) {
		t.Fatal("the denial was not seen")
	}
	if has(h.drop(scores, 3), member) {
		t.Error("a run that had read its inputs earlier made the denial forgotten")
	}
}
