package agent_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/hashicorp/go-hclog"
	"github.com/klauspost/compress/zstd"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
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
recipients:
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
	exchanges := ""
	for i, name := range slices.Sorted(maps.Keys(policies)) {
		policy, err := filepath.Abs(filepath.Join("testdata", policies[name]))
		must(t, err)
		exchanges += fmt.Sprintf("  %s: {id: e%d, source: ehr, policy: %s, recipient: partner-hie}\n", name, i+1, policy)
	}
	must(t, os.WriteFile(filepath.Join(c.dir, "consents.csv"), []byte(registry), 0o600))
	must(t, os.WriteFile(c.config, fmt.Appendf(nil, sharedConfig, keys.Archive, source, c.identity.Recipient(), c.inbox, receipts, exchanges), 0o600))
	return c
}

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

// receive does what the recipient does, and gives the plaintext of each part.
func (c *sharedClinic) receive(t testing.TB, exchange string) (plain [][]byte, result transfer.Result) {
	t.Helper()
	keys, err := c.agent.PublicKeys()
	must(t, err)
	signers, err := sshsig.ParseAllowedSigners("allowed_signers", []byte(keys.AllowedSigner+"\n"))
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
		files, err := filepath.Glob(filepath.Join(result.Folder, "*.ndjson"))
		must(t, err)
		for _, file := range files {
			text, err := os.ReadFile(file)
			must(t, err)
			plain = append(plain, text)
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

// walked is one record as this test reads it: by encoding/json into maps,
// knowing nothing of package extract.
type walked struct {
	file     string
	line     int
	entry    int
	dataset  string // resourceType, or (unreadable)
	id       string
	raw      string
	members  map[string]any
	broken   string // the reason for which it cannot be used, "" when it can
	urls     map[string]string
	patients []string // ids of all patients that it refers to
}

func (w *walked) String() string {
	return fmt.Sprintf("%s,%d,%d,%s", w.file, w.line, w.entry, w.dataset)
}

// concerns says, for the types in the shared data that must concern a patient,
// which element names the patient (FHIR R4, patient compartment).
var concerns = map[string]string{
	"AllergyIntolerance": "patient", "CarePlan": "subject", "CareTeam": "subject", "Claim": "patient", "Condition": "subject", "Consent": "patient",
	"Coverage": "beneficiary", "DiagnosticReport": "subject", "DocumentReference": "subject", "Encounter": "subject", "ExplanationOfBenefit": "patient",
	"Goal": "subject", "ImagingStudy": "subject", "Immunization": "patient", "MedicationAdministration": "subject", "MedicationDispense": "subject",
	"MedicationRequest": "subject", "Observation": "subject", "Procedure": "subject", "ServiceRequest": "subject",
}

// walkFolder reads every data file of a folder, in byte order of their names.
func walkFolder(t testing.TB, folder string, ignore string) []*walked {
	t.Helper()
	var names []string
	must(t, filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ignore {
			name, _ := filepath.Rel(folder, path)
			names = append(names, filepath.ToSlash(name))
		}
		return err
	}))
	slices.Sort(names)
	var all []*walked
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(folder, name))
		must(t, err)
		if strings.HasSuffix(name, ".gz") {
			plain, err := gzip.NewReader(bytes.NewReader(data))
			must(t, err)
			data, err = io.ReadAll(plain)
			must(t, err)
		}
		if strings.Contains(name, ".ndjson") {
			all = append(all, walkLines(name, data)...)
		} else {
			all = append(all, walkDocument(t, name, data)...)
		}
	}
	return all
}

func walkLines(name string, data []byte) []*walked {
	var all []*walked
	for i, line := range strings.Split(string(data), "\n") {
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, walk(name, i+1, 0, line, "", nil))
		}
	}
	return all
}

// walkDocument reads a file with one resource, or a Bundle by its entries.
func walkDocument(t testing.TB, name string, data []byte) []*walked {
	t.Helper()
	data = bytes.TrimPrefix(data, []byte("\xef\xbb\xbf"))
	var bundle struct {
		ResourceType, Type string
		Entry              []struct {
			FullURL  string `json:"fullUrl"`
			Resource json.RawMessage
		}
	}
	must(t, json.Unmarshal(data, &bundle))
	if bundle.ResourceType != "Bundle" {
		return []*walked{walk(name, 1, 0, strings.TrimSpace(string(data)), "", nil)}
	}
	if !slices.Contains([]string{"transaction", "batch", "collection", "searchset"}, bundle.Type) {
		return []*walked{{file: name, line: 1, dataset: "Bundle", broken: "schema"}}
	}
	urls := map[string]string{}
	for _, e := range bundle.Entry {
		var head struct{ ResourceType, ID string }
		must(t, json.Unmarshal(e.Resource, &head))
		if head.ID == "" {
			head.ID = e.FullURL[strings.LastIndexAny(e.FullURL, ":/")+1:]
		}
		urls[e.FullURL] = head.ResourceType + "/" + head.ID
	}
	var all []*walked
	at := 0
	for i, e := range bundle.Entry {
		n := bytes.Index(data[at:], e.Resource)
		if n < 0 {
			t.Fatalf("%s: entry %d cannot be found again", name, i+1)
		}
		at += n
		line := bytes.Count(data[:at], []byte("\n")) + 1
		all = append(all, walk(name, line, i+1, string(e.Resource), e.FullURL, urls))
	}
	return all
}

func walk(file string, line, entry int, raw, fullURL string, urls map[string]string) *walked {
	w := &walked{file: file, line: line, entry: entry, dataset: "(unreadable)", raw: raw, urls: urls}
	if json.Unmarshal([]byte(raw), &w.members) != nil {
		w.broken = "malformed"
		return w
	}
	w.dataset, _ = w.members["resourceType"].(string)
	w.id, _ = w.members["id"].(string)
	if w.id == "" && fullURL != "" {
		w.id = fullURL[strings.LastIndexAny(fullURL, ":/")+1:]
	}
	w.refer(w.members)
	switch named, must := concerns[w.dataset]; {
	case w.dataset == "Patient":
		w.patients = []string{w.id}
		if w.id == "" {
			w.broken = "no-subject"
		}
	case must && !strings.HasPrefix(w.resolve(w.text(named+".reference")), "Patient/"):
		w.broken = "no-subject"
	}
	return w
}

// refer gathers every reference of the record.
func (w *walked) refer(v any) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			w.refer(e)
		}
	case map[string]any:
		for name, e := range v {
			if ref, ok := e.(string); ok && name == "reference" {
				target := w.resolve(ref)
				if id, ok := strings.CutPrefix(target, "Patient/"); ok && !slices.Contains(w.patients, id) {
					w.patients = append(w.patients, id)
				}
			}
			w.refer(e)
		}
	}
}

// resolve gives Type/id.
func (w *walked) resolve(ref string) string {
	if name, ok := w.urls[ref]; ok {
		return name
	}
	if strings.Contains(ref, "?") || strings.HasPrefix(ref, "#") {
		return ""
	}
	if parts := strings.Split(ref, "/"); len(parts) > 2 {
		return strings.Join(parts[len(parts)-2:], "/")
	}
	return ref
}

// text gives the string at a path of member names, "" when there is none.
func (w *walked) text(path string) string {
	var v any = w.members
	for _, name := range strings.Split(path, ".") {
		m, _ := v.(map[string]any)
		v = m[name]
	}
	s, _ := v.(string)
	return s
}

// sharedRule is what a policy of testdata asks for in one dataset, written
// down a second time, by hand.
type sharedRule struct {
	status   []string
	date     []string // elements with the date of service, the first that is there counts
	from, to string   // days; empty means the year before as-of
	sites    string   // element whose reference is released
}

var (
	encounterDate   = []string{"period.start"}
	procedureDate   = []string{"performedDateTime", "performedPeriod.start"}
	observationDate = []string{"effectiveDateTime", "effectivePeriod.start", "effectiveInstant", "issued"}
	conditionDate   = []string{"recordedDate", "onsetDateTime", "onsetPeriod.start"}
	reportDate      = []string{"period.start", "date"}
)

var sharedRules = map[string]map[string]sharedRule{
	"identified": {
		"Patient": {}, "Condition": {}, "MeasureReport": {}, "Consent": {}, "Organization": {},
		"Encounter":         {status: []string{"finished"}, date: encounterDate, from: "2010-01-01", to: "2025-12-31", sites: "serviceProvider.reference"},
		"Observation":       {status: []string{"final", "amended"}},
		"Procedure":         {date: procedureDate, from: "2012-01-01", to: "2018-12-31"},
		"MedicationRequest": {status: []string{"active", "stopped"}},
	},
	"safe-harbor": {
		"Patient":       {},
		"Condition":     {date: conditionDate},
		"MeasureReport": {date: reportDate},
		"Encounter":     {date: encounterDate, from: "2010-01-01", to: "2025-12-31"},
		"Observation":   {status: []string{"final", "amended"}, date: observationDate},
	},
}

// sharedPeople are the patients that the registry of a test speaks of.
type sharedPeople struct{ closed map[string]map[string]bool } // by exchange

// outside gives the reason for which a rule leaves a record out.
func (r sharedRule) outside(w *walked, asOf string) string {
	if len(r.date) > 0 {
		day, from, to := "", r.from, r.to
		if from == "" {
			var year int
			_, _ = fmt.Sscan(asOf[:4], &year)
			from, to = fmt.Sprintf("%d-01-01", year-1), fmt.Sprintf("%d-12-31", year-1)
		}
		for _, path := range r.date {
			if day = w.text(path); day != "" {
				break
			}
		}
		if day = day[:min(10, len(day))]; day == "" || day+"-01-01"[len(day)-4:][:10-len(day)] < from || day+"-12-31"[len(day)-4:][:10-len(day)] > to {
			return "period"
		}
	}
	if len(r.status) > 0 && !slices.Contains(r.status, w.text("status")) {
		return "measure"
	}
	return ""
}

// judge gives every record's reason, "" for a released one.
func judge(all []*walked, exchange, asOf string, people sharedPeople) map[*walked]string {
	copies := map[string][]*walked{}
	for _, w := range all {
		if w.broken == "" && w.id != "" {
			copies[w.dataset+"/"+w.id] = append(copies[w.dataset+"/"+w.id], w)
		}
	}
	why, sites, waiting := map[*walked]string{}, map[string]bool{}, []*walked(nil)
	for _, w := range all {
		rule, named := sharedRules[exchange][w.dataset]
		same := copies[w.dataset+"/"+w.id]
		differ := slices.ContainsFunc(same, func(o *walked) bool { return o.raw != same[0].raw })
		denied := slices.ContainsFunc(w.patients, func(id string) bool { return people.closed[exchange][id] })
		_, modified := w.members["modifierExtension"]
		switch {
		case w.broken != "":
			why[w] = w.broken
		case differ:
			why[w] = "conflict"
		case len(same) > 1 && same[0] != w:
			why[w] = "repeated"
		case !named:
			why[w] = "not-named"
		case rule.outside(w, asOf) != "":
			why[w] = rule.outside(w, asOf)
		case denied && exchange == "identified":
			why[w] = "consent-denied"
		case denied:
			why[w] = "clinic-choice"
		case modified:
			why[w] = "unsafe"
		case len(w.patients) == 0:
			waiting = append(waiting, w)
		default:
			why[w] = ""
			if rule.sites != "" {
				sites[w.resolve(w.text(rule.sites))] = true
			}
		}
	}
	for _, w := range waiting { // about no patient: goes with what refers to it
		if why[w] = "population"; sites[w.dataset+"/"+w.id] {
			why[w] = ""
		}
	}
	return why
}

// dispositionOf says to which of the six a reason belongs.
func dispositionOf(reason string) string {
	switch reason {
	case "":
		return "released"
	case "malformed", "schema", "no-subject", "conflict", "unsafe":
		return "rejected"
	case "repeated":
		return "duplicate"
	case "consent-denied", "clinic-choice":
		return "withheld"
	default:
		return "out-of-scope"
	}
}

// sharedRegistry closes the door for every fifth patient, and opts another
// fifth out of registries.
func sharedRegistry(all []*walked) (sharedPeople, string) {
	var ids []string
	for _, w := range all {
		if w.dataset == "Patient" && w.id != "" {
			ids = append(ids, w.id)
		}
	}
	slices.Sort(ids)
	ids = slices.Compact(ids)
	p := sharedPeople{map[string]map[string]bool{"identified": {}, "safe-harbor": {}}}
	csv := "patient,scope,decision,status,from,source_document\n"
	for i, id := range ids {
		switch i % 5 {
		case 1:
			p.closed["identified"][id] = true
			csv += id + ",general,deny,active,2020-01-01,form.pdf\n"
		case 2:
			p.closed["safe-harbor"][id] = true
			csv += id + ",registry-opt-out,deny,active,2020-01-01,form.pdf\n"
		}
	}
	return p, csv
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

// Every folder of shared data, under an identified and under a Safe Harbor
// policy: each dataset balances, the counts are those of a second reading that
// shares no code with the product, the clinic's book says the same of each
// single line, and the recipient holds the released records and no other.
func TestSharedDataBalances(t *testing.T) {
	for _, s := range []struct{ name, ignore, asOf, files string }{
		{"clinic", "", "2019-06-30", sharedNDJSON},
		{"surveys", "", "2020-06-30", sharedNDJSON},
		{"measures", "", "2027-06-30", sharedDeep},
		{"bulk-export", "log.ndjson", "2021-06-30", sharedNDJSON},
		{"bundles", "", "2021-06-30", sharedJSON},
		{"edge", "", "2026-06-30", sharedNDJSON + "\n" + sharedJSON},
	} {
		t.Run(s.name, func(t *testing.T) {
			folder := sharedFolder(t, s.name)
			all := walkFolder(t, folder, s.ignore)
			people, registry := sharedRegistry(all)
			c := newSharedClinic(t, sharedSource(folder, s.ignore, s.files),
				map[string]string{"identified": "shared-identified.yaml", "safe-harbor": "shared-safe-harbor.yaml"}, registry)
			c.open(t, io.Discard)
			for i, exchange := range []string{"identified", "safe-harbor"} {
				t.Run(exchange, func(t *testing.T) {
					c.compare(t, exchange, fmt.Sprintf("e%d", i+1), s.asOf, all, judge(all, exchange, s.asOf, people))
				})
			}
		})
	}
}

// compare runs an exchange and holds everything it says against the reasons
// that were worked out for the records.
func (c *sharedClinic) compare(t *testing.T, exchange, id, asOf string, all []*walked, why map[*walked]string) {
	t.Helper()
	outcome, err := c.agent.Run(t.Context(), exchange, agent.RunOptions{AsOf: sharedDay(t, asOf)})
	must(t, err)
	delivered, err := c.agent.Deliver(t.Context(), exchange)
	must(t, err)
	if len(delivered) != 1 || delivered[0].State != "hash-verified" {
		t.Fatalf("delivered %+v", delivered)
	}
	compareSheet(t, outcome, all, why)
	compareBook(t, c.private(t, id, "dispositions"), all, why)
	plain, result := c.receive(t, id)
	compareDrop(t, exchange, plain, all, why)
	if result.Rows != outcome.Released || result.Book.People != outcome.People {
		t.Errorf("the recipient has %d rows about %d people, the clinic says %d about %d", result.Rows, result.Book.People, outcome.Released, outcome.People)
	}
}

func sharedDay(t testing.TB, date string) extract.Day {
	t.Helper()
	span, ok := extract.ParseSpan([]byte(date))
	if !ok {
		t.Fatalf("%s is no date", date)
	}
	return span.From
}

func compareSheet(t *testing.T, outcome *agent.Outcome, all []*walked, why map[*walked]string) {
	t.Helper()
	source, want := map[string]int64{}, map[string]int64{}
	for _, w := range all {
		source[w.dataset]++
		want[w.dataset+" "+dispositionOf(why[w])]++
		if why[w] != "" {
			want[w.dataset+" "+why[w]]++
		}
	}
	got := map[string]int64{}
	for _, b := range outcome.Balances {
		sum := int64(0)
		for disposition, n := range b.Dispositions {
			sum += n
			if n > 0 {
				got[b.Dataset+" "+disposition] += n
			}
		}
		for reason, n := range b.Reasons {
			got[b.Dataset+" "+reason] += n
		}
		if sum != b.Source || b.Source != source[b.Dataset] {
			t.Errorf("%s: %d in the source, %d accounted for, %d counted by the second reading", b.Dataset, b.Source, sum, source[b.Dataset])
		}
		delete(source, b.Dataset)
	}
	if len(source) > 0 {
		t.Errorf("datasets that the run does not know: %v", source)
	}
	for _, key := range slices.Sorted(maps.Keys(want)) {
		if got[key] != want[key] {
			t.Errorf("%s: %d, want %d", key, got[key], want[key])
		}
		delete(got, key)
	}
	if len(got) > 0 {
		t.Errorf("counted and not expected: %v", got)
	}
	t.Logf("%d records: %v", len(all), want)
}

// compareBook holds each line of the clinic's book against its record.
func compareBook(t *testing.T, book []byte, all []*walked, why map[*walked]string) {
	t.Helper()
	want := map[string]string{}
	for _, w := range all {
		want[w.String()] = dispositionOf(why[w]) + " " + why[w]
	}
	rows, err := csv.NewReader(bytes.NewReader(book)).ReadAll()
	must(t, err)
	wrong := 0
	for _, r := range rows[1:] {
		var from, to int
		if _, err := fmt.Sscan(r[1], &from); err != nil {
			t.Fatal(err)
		}
		if _, err := fmt.Sscan(r[2], &to); err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(r[6], ",")
		for line := from; line <= to; line++ {
			key := fmt.Sprintf("%s,%d,%s,%s", r[0], line, r[3], r[4])
			if got := r[5] + " " + first; want[key] != got {
				if wrong++; wrong < 10 {
					t.Errorf("book says of %s: %q, want %q", key, got, want[key])
				}
			}
			delete(want, key)
		}
	}
	if len(want) > 0 {
		t.Errorf("%d records are not in the clinic's book, such as %v", len(want), slices.Sorted(maps.Keys(want))[0])
	}
}

// compareDrop holds the recipient's rows against the released records: by
// resource type and, where ids are released, one by one.
func compareDrop(t *testing.T, exchange string, plain [][]byte, all []*walked, why map[*walked]string) {
	t.Helper()
	want := map[string]int{}
	key := func(kind, id string) string {
		if exchange != "identified" {
			return kind
		}
		return kind + "/" + id
	}
	for _, w := range all {
		if why[w] == "" {
			id, _ := w.members["id"].(string)
			want[key(w.dataset, id)]++
		}
	}
	for _, part := range plain {
		for line := range strings.Lines(string(part)) {
			var row struct{ ResourceType, ID string }
			must(t, json.Unmarshal([]byte(line), &row))
			want[key(row.ResourceType, row.ID)]--
		}
	}
	for name, n := range want {
		if n != 0 {
			t.Errorf("%s: %d more released than received", name, n)
		}
	}
}

// The broken records of edge, found by eye.
var edgeRejected = []string{
	`Import-DupPatientTemplate.ndjson:1 conflict`, // one template id in four files, with several contents
	`Import-DupPatientTemplate.ndjson:2 conflict`,
	`Import-InvalidPatient.ndjson:1 conflict`,
	`Import-InvalidPatient.ndjson:2 conflict`,
	`Import-InvalidPatient.ndjson:3 conflict`,
	`Import-InvalidPatient.ndjson:4 malformed`, // "invalid-row"
	`Import-InvalidPatient.ndjson:5 conflict`,
	`Import-Patient.ndjson:1 conflict`,
	`Import-Patient.ndjson:2 conflict`,
	`Import-Patient.ndjson:3 conflict`,
	`Import-Patient.ndjson:4 conflict`,
	`Import-SinglePatientTemplate.ndjson:1 conflict`,
	`bundle-empty.json:1 schema`,        // a Bundle without a type
	`condition-empty.json:1 no-subject`, // only meta
	`contained-basic.json:1 no-subject`, // its subject is a contained Practitioner
	`patient-empty.json:1 no-subject`,   // a Patient without an id
}

// Stock tools open the clinic's book, and it names the broken records of edge
// by file and line.
func TestEdgeIsRejectedByFileAndLine(t *testing.T) {
	for _, tool := range []string{"age", "zstd"} {
		_, err := exec.LookPath(tool)
		sharedPeer(t, tool, err == nil)
	}
	folder := sharedFolder(t, "edge")
	c := newSharedClinic(t, sharedSource(folder, "", sharedNDJSON+"\n"+sharedJSON), map[string]string{"identified": "shared-identified.yaml"},
		"patient,scope,decision,status\n")
	c.open(t, io.Discard)
	_, err := c.agent.Run(t.Context(), "identified", agent.RunOptions{AsOf: sharedDay(t, "2026-06-30")})
	must(t, err)
	book, err := exec.CommandContext(context.Background(), "sh", "-c", `age -d -i "$0" "$1" | zstd -dc`, c.archive, c.privateFile(t, "e1", "dispositions")).Output()
	must(t, err)
	rows, err := csv.NewReader(bytes.NewReader(book)).ReadAll()
	must(t, err)
	var got []string
	for _, r := range rows {
		if r[5] == "rejected" {
			var from, to int
			_, err := fmt.Sscan(r[1]+" "+r[2], &from, &to)
			must(t, err)
			first, _, _ := strings.Cut(r[6], ",")
			for line := from; line <= to; line++ {
				got = append(got, fmt.Sprintf("%s:%d %s", r[0], line, first))
			}
		}
	}
	slices.Sort(got)
	if !slices.Equal(got, edgeRejected) {
		t.Errorf("rejected:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(edgeRejected, "\n"))
	}
}
