package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/robfig/cron/v3"
	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/deid/gate"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/transfer"
)

// Config is postern.yaml. Relative paths in it are relative to the file.
type Config struct {
	Version      string                             `yaml:"postern,required"`
	Demo         bool                               `yaml:"demo"` // sample texts may stand for an officer's, and nothing goes to another machine
	Organization Organization                       `yaml:"organization,required"`
	State        string                             `yaml:"state,required"`
	Keys         KeyRefs                            `yaml:"keys,required"`
	Sources      map[string]SourceConfig            `yaml:"sources,required"`
	Inputs       map[string]InputConfig             `yaml:"inputs"`
	Classifier   string                             `yaml:"classifier"` // what records are about, by their codes: a file
	Recipients   map[string]RecipientConfig         `yaml:"recipients,required"`
	Others       []string                           `yaml:"other_organizations"` // that consents and restrictions may name, and nothing is sent to
	Approvers    []ApproverConfig                   `yaml:"approvers,required"`
	Exchanges    strictyaml.Ordered[ExchangeConfig] `yaml:"exchanges,required"`

	File string
	Dir  string
	Zone *time.Location
}

// Organization is the clinic.
type Organization struct {
	Name     string `yaml:"name,required"`
	ID       string `yaml:"id,required"`   // how recipients know the sender; stands in manifests
	Code     string `yaml:"code,required"` // short, stands in file names
	TimeZone string `yaml:"time_zone,required"`

	Identifiers []string `yaml:"identifiers"` // how consents may name it
	// RecordNumbers are the forms of its record numbers, which the gate finds
	// whether or not the extract knows whose they are: see gate.CheckRecordNumber.
	RecordNumbers []string `yaml:"record_numbers"`
}

// KeyRefs are references to the clinic's keys. The archive key is public: its
// private half is never on the agent.
type KeyRefs struct {
	Master      string `yaml:"master,required"`
	Passphrase  string `yaml:"passphrase"` // of a master key that `age -p` encrypted; "": asked for at the terminal
	DropSigning string `yaml:"drop_signing,required"`
	Checkpoint  string `yaml:"checkpoint,required"`
	// The keys before those two: the one signs drops that introduce drop_signing until
	// their recipient knows it, the other signs checkpoints beside checkpoint.
	DropSigningBefore string `yaml:"drop_signing_before"`
	CheckpointBefore  string `yaml:"checkpoint_before"`
	Archive           string `yaml:"archive,required"`
	OpenPGP           string `yaml:"openpgp"` // signs what is encrypted with OpenPGP; needed by nothing else
	Review            string `yaml:"review"`  // likewise: what the gate stops is encrypted to it; without one, to the archive key
}

func (k KeyRefs) reviewKey() string { return cmp.Or(k.Review, k.Archive) }

// SourceConfig is a folder that extracts are laid into.
type SourceConfig struct {
	Folder   string         `yaml:"folder,required"`
	Complete CompleteConfig `yaml:"complete,required"`
	Ignore   []string       `yaml:"ignore"`
	Files    []FileConfig   `yaml:"files,required"`
	// ShrinkLimit is how much may be gone from an extract at once: of what a recipient
	// holds, in an exchange that sends changes, otherwise of the records that the drop
	// before was made of; 5 % when it is not set.
	ShrinkLimit strictyaml.Percent `yaml:"shrink_limit"`
}

// usualShrink is SourceConfig.ShrinkLimit where it is not set.
const usualShrink = 0.05

// CompleteConfig tells when an extract is whole: exactly one of its rules.
type CompleteConfig struct {
	Marker    string              `yaml:"marker"`
	StableFor strictyaml.Duration `yaml:"stable_for"`
	Manifest  string              `yaml:"manifest"`
}

// FileConfig says what the files of a name pattern are.
type FileConfig struct {
	Match   string `yaml:"match,required"`
	Format  string `yaml:"format,required"`
	Dataset string `yaml:"dataset"`
	Schema  string `yaml:"schema"`
}

// InputConfig is a protective input: what closes doors. It fails closed.
type InputConfig struct {
	Kind        string              `yaml:"kind,required"`
	File        string              `yaml:"file,required"`
	Schema      string              `yaml:"schema"` // of a table: the classes of its columns
	MaxAge      strictyaml.Duration `yaml:"max_age,required"`
	ShrinkLimit strictyaml.Percent  `yaml:"shrink_limit,required"`
}

// RecipientConfig is who receives.
type RecipientConfig struct {
	Kind        string            `yaml:"kind,required"`
	Name        string            `yaml:"name,required"`
	Address     string            `yaml:"address"`
	Identifiers []string          `yaml:"identifiers"` // how consents may name it
	EncryptTo   []KeyConfig       `yaml:"encrypt_to,required"`
	Bare        *BareConfig       `yaml:"bare"` // nil: it takes drops
	Receipt     ReceiptConfig     `yaml:"receipt,required"`
	Destination DestinationConfig `yaml:"destination,required"`
}

// ReceiptConfig is how the recipient answers.
type ReceiptConfig struct {
	Mode  string                  `yaml:"mode,required"` // signed, response-file, manual or none
	Key   ReceiptKeys             `yaml:"key"`           // of mode signed; two while one follows the other
	Due   strictyaml.Duration     `yaml:"due"`
	Files []transfer.ResponseFile `yaml:"files"` // of mode response-file
}

// ExchangeConfig is a standing flow.
type ExchangeConfig struct {
	ID        string `yaml:"id,required"` // opaque, stands in file names and manifests
	Source    string `yaml:"source,required"`
	Policy    string `yaml:"policy,required"`
	Recipient string `yaml:"recipient,required"`
	Schedule  string `yaml:"schedule"`
	CutOff    string `yaml:"cut_off"` // five fields as of a schedule: by when a drop is to be there

	Apart strictyaml.Duration `yaml:"apart"` // at least so long after one drop is there the next is sent
}

// Kinds of protective inputs.
const (
	RegistryInput     = "consent-registry"
	FHIRConsentInput  = "fhir-consents"
	RestrictionsInput = "restrictions"
	RosterInput       = "roster"
	AttributionInput  = "attribution"
	CoverageInput     = "fhir-coverage"
	ProgramsInput     = "programs"
	MergesInput       = "merges"
	FHIRMergesInput   = "fhir-merges"
	TableInput        = "table"
)

// policyKinds are the kinds of inputs as policies tell them apart.
var policyKinds = map[string]string{
	RegistryInput: "consents", FHIRConsentInput: "consents", RestrictionsInput: "restrictions", ProgramsInput: "programs",
	RosterInput: "roster", AttributionInput: "roster", CoverageInput: "roster", MergesInput: "merges", FHIRMergesInput: "merges", TableInput: "table",
}

var (
	codePattern = regexp.MustCompile(`^[a-z0-9]{1,8}$`)
	namePattern = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,62}$`)
)

// LoadConfig reads a configuration and checks all that can be checked in the
// file itself. Its error is a Configuration failure listing every mistake.
func LoadConfig(file string) (*Config, error) {
	c, _, err := readConfig(file)
	if err != nil {
		return nil, err
	}
	return c, nil
}

// readConfig gives with a configuration where everything in it stands. The
// source is nil when the file cannot be read at all.
func readConfig(file string, options ...strictyaml.Option) (*Config, *strictyaml.Source, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, nil, fail(Configuration, err, "`postern init DIR` makes a first one; --config names another", "configuration")
	}
	c := &Config{File: file, Dir: filepath.Dir(file)}
	source, err := strictyaml.Decode(file, data, c, options...)
	if err == nil {
		c.check(configErrors{source})
		err = source.Errors().Err()
	}
	if err != nil {
		return c, source, fail(Configuration, err, "", "")
	}
	return c, source, nil
}

// Path makes a path of the configuration absolute or relative to its folder.
func (c *Config) Path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(c.Dir, path)
}

// StateDir is the folder of durable state.
func (c *Config) StateDir() string { return c.Path(c.State) }

// Exchange finds an exchange by name.
func (c *Config) Exchange(name string) (ExchangeConfig, error) {
	var names []string
	for _, e := range c.Exchanges {
		if e.Key == name {
			return e.Value, nil
		}
		names = append(names, e.Key)
	}
	return ExchangeConfig{}, fail(Usage, nil, strictyaml.DidYouMean(name, names), "no exchange of %s is called %q", c.File, name)
}

// configErrors adds mistakes that the shape of the file cannot show. Of a
// value that is still to be filled in, nothing else is said.
type configErrors struct{ source *strictyaml.Source }

func (e configErrors) add(path, hint, message string, args ...any) {
	if e.source.IsPlaceholder(path) {
		return
	}
	e.source.Errors().Add(e.source.At(path), path, fmt.Sprintf(message, args...), hint)
}

func (c *Config) check(errs configErrors) {
	if c.Version != "config/v1" {
		errs.add("postern", "write config/v1", "unknown version of the configuration")
	}
	zone, err := time.LoadLocation(c.Organization.TimeZone)
	if err != nil {
		errs.add("organization.time_zone", "use a name such as America/Chicago", "unknown time zone")
		zone = time.UTC
	}
	c.Zone = zone
	if !codePattern.MatchString(c.Organization.Code) {
		errs.add("organization.code", "use one to eight small letters and digits", "the code stands in file names")
	}
	if strings.HasPrefix(c.Organization.Code, testCode) {
		errs.add("organization.code", "choose another", "names that begin with %s are those of test drops", testCode)
	}
	if !namePattern.MatchString(c.Organization.ID) {
		errs.add("organization.id", "use small letters, digits and hyphens", "the id stands in manifests and signatures")
	}
	for i, form := range c.Organization.RecordNumbers {
		if err := gate.CheckRecordNumber(form); err != nil {
			errs.add(fmt.Sprintf("organization.record_numbers[%d]", i), err.Error(), "no form of record numbers")
		}
	}
	if _, err := age.ParseX25519Recipient(c.Keys.Archive); err != nil {
		errs.add("keys.archive", "write the age1… line that `postern init` printed, not a file", "no age recipient")
	}
	if _, err := age.ParseX25519Recipient(c.Keys.reviewKey()); err != nil && c.Keys.Review != "" {
		errs.add("keys.review", "write the age1… line that `postern init` printed, not a file", "no age recipient")
	}
	for name, s := range c.Sources {
		c.checkSource("sources."+name, s, errs)
	}
	for name, in := range c.Inputs {
		if policyKinds[in.Kind] == "" {
			errs.add("inputs."+name+".kind", fmt.Sprintf("kinds are %v", slices.Sorted(maps.Keys(policyKinds))), "unknown kind of protective input")
		}
		if (in.Kind == TableInput) != (in.Schema != "") {
			errs.add("inputs."+name+".schema", "write schema: FILE for an input of kind table, and for no other; `postern dataset draft` proposes one", "the classes of a table's columns stand in a schema")
		}
	}
	for name, r := range c.Recipients {
		checkRecipient("recipients."+name, r, c.Keys, errs)
		if d := r.Destination; c.Demo && (d.SFTP != nil && d.SFTP.Host != "127.0.0.1" || d.HTTPS != nil || d.S3 != nil) {
			errs.add("recipients."+name+".destination", "remove demo: true, which takes sample texts for legal ones", "a demo sends nothing to another machine")
		}
	}
	checkApprovers(c.Approvers, errs)
	c.checkExchanges(errs)
}

func (c *Config) checkSource(path string, s SourceConfig, errs configErrors) {
	rules := 0
	for _, given := range []bool{s.Complete.Marker != "", s.Complete.StableFor > 0, s.Complete.Manifest != ""} {
		if given {
			rules++
		}
	}
	if rules != 1 {
		errs.add(path+".complete", "write one of marker, stable_for, manifest", "an extract needs exactly one rule that tells when it is whole")
	}
	schemas := map[string]string{}
	for i, f := range s.Files {
		at := fmt.Sprintf("%s.files[%d]", path, i)
		if known, twice := schemas[f.Dataset]; twice && known != f.Schema {
			errs.add(at+".schema", "write schema: "+known+", or give the dataset another name", "the dataset %s has another schema already: one policy cannot be proved by two", f.Dataset)
		}
		schemas[f.Dataset] = f.Schema
		switch extract.Format(f.Format) {
		case extract.FHIRNDJSON, extract.FHIRJSON:
			if f.Dataset != "" || f.Schema != "" {
				errs.add(at, "remove dataset and schema", "a FHIR file names its own resource types")
			}
		case extract.Delimited:
			if f.Dataset == "" || f.Schema == "" {
				errs.add(at, "add dataset: NAME and schema: FILE; `postern dataset draft` proposes one", "a delimited file needs a dataset name and a schema")
			}
		default:
			errs.add(at+".format", "formats are fhir-ndjson, fhir-json, delimited", "unknown format")
		}
	}
}

func checkRecipient(path string, r RecipientConfig, own KeyRefs, errs configErrors) {
	if len(r.EncryptTo) == 0 {
		errs.add(path+".encrypt_to", "ask the recipient for its age1… line", "a drop that nobody can open")
	}
	for i, key := range r.EncryptTo {
		if _, err := transfer.ParseRecipient(key.Line); err != nil && key.File == "" {
			errs.add(fmt.Sprintf("%s.encrypt_to[%d]", path, i), "ask the recipient for its age1… line, its ssh-ed25519 line, or its OpenPGP key in a file: {file: FILE, fingerprint: …}", "no age recipient")
		}
		if line := strings.TrimSpace(key.Line); line != "" && (line == own.Archive || line == own.Review) {
			errs.add(fmt.Sprintf("%s.encrypt_to[%d]", path, i), "ask the recipient for its own age1… line", "this is the clinic's archive or review key: whoever holds it reads what never leaves")
		}
	}
	if r.Bare != nil {
		r.Bare.check(path+".bare", r, errs)
	}
	switch r.Receipt.Mode {
	case receiptNone, receiptManual:
	case receiptFile:
		checkResponses(path+".receipt.files", r.Receipt.Files, errs)
	case receiptSigned:
		keys := r.Receipt.Key
		if len(keys) == 0 {
			keys = ReceiptKeys{{path: path + ".receipt.key"}}
		}
		for _, k := range keys {
			if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(k.Line)); err != nil {
				errs.add(k.path, "write the recipient's public key line, ssh-ed25519 …", "no SSH public key")
			}
		}
	default:
		errs.add(path+".receipt.mode", "modes are signed, response-file, manual and none", "unknown way of answering")
	}
	if len(r.Receipt.Files) > 0 && r.Receipt.Mode != receiptFile {
		errs.add(path+".receipt.files", "write mode: response-file, or leave them out", "only a recipient that answers with files has them")
	}
	if r.Destination.kinds() != 1 {
		errs.add(path+".destination", "write one of sftp, folder, https, s3", "a recipient has exactly one destination")
	}
	checkWeb(path+".destination", r.Destination, errs)
	checkTemporary(path+".destination.temporary_name", r, errs)
	if r.Destination.MaxRows < 0 {
		errs.add(path+".destination.max_rows", "write how many rows one file may have", "%d is no number of rows", r.Destination.MaxRows)
	}
	if r.Destination.TestFolder != "" && r.Destination.kinds() == 1 {
		checkTests(path+".destination.test_folder", r.Destination, errs)
	}
	if r.Receipt.fetched() && !r.Destination.takesReceipts() {
		errs.add(path+".destination", "add receipts: FOLDER, where the recipient lays them; or write receipt: {mode: manual} or {mode: none}", "the recipient's answers have no folder")
	}
	if s := r.Destination.SFTP; s != nil {
		if _, err := transfer.ParseHostKey(s.HostKey); err != nil {
			errs.add(path+".destination.sftp.host_key", "write the server's public host key, ssh-ed25519 …, confirmed with the recipient by telephone", "no SSH host key")
		}
	}
}

// checkResponses wants of each file that it be read in one way only.
func checkResponses(path string, files []transfer.ResponseFile, errs configErrors) {
	if len(files) == 0 {
		errs.add(path, "describe a file under files:; docs/receipts.md has examples", "it is not told how the recipient's files are named and read")
	}
	for i, f := range files {
		at := fmt.Sprintf("%s[%d]", path, i)
		if member, hint, why := f.Check(); member != "" {
			errs.add(at+"."+member, hint, "%s", why)
		} else if why != "" {
			errs.add(at, hint, "%s", why)
		}
	}
}

// checkAnswers wants of a recipient of several exchanges that each of its files
// tell which one it answers.
func (c *Config) checkAnswers(errs configErrors) {
	exchanges := map[string]int{}
	for _, e := range c.Exchanges {
		exchanges[e.Value.Recipient]++
	}
	for name, r := range c.Recipients {
		for i, f := range r.Receipt.Files {
			byFile := strings.Contains(f.Match, "{file}") && !strings.Contains(f.Match, "{sequence}") && !strings.Contains(f.Match, "{date}")
			if exchanges[name] > 1 && !strings.Contains(f.Match, "{exchange}") && !byFile {
				errs.add(fmt.Sprintf("recipients.%s.receipt.files[%d].match", name, i), "write {exchange} where its id stands, or make a recipient of each", "%d exchanges go to %s, and the name does not tell them apart", exchanges[name], name)
			}
		}
	}
}

// wordsOf tells of which command a word is one, where the command takes the name
// of an exchange in its place.
var wordsOf = map[string]string{
	"show": "reconcile", "assign": "reconcile", "settle": "reconcile",
	"drop-signing": "keys rotate", "checkpoint": "keys rotate",
}

func (c *Config) checkExchanges(errs configErrors) {
	c.checkAnswers(errs)
	ids := map[string]string{}
	for _, e := range c.Exchanges {
		path := "exchanges." + e.Key
		if !namePattern.MatchString(e.Key) {
			errs.add(path, "use small letters, digits and hyphens", "the name stands in what approvers sign")
		}
		if command := wordsOf[e.Key]; command != "" {
			errs.add(path, "choose another name", "it is a word of the command `postern %s`", command)
		}
		if !codePattern.MatchString(e.Value.ID) {
			errs.add(path+".id", "use one to eight small letters and digits that say nothing about the content", "the id stands in file names and manifests")
		}
		if other, taken := ids[e.Value.ID]; taken {
			errs.add(path+".id", "give each exchange its own", "the id is also that of %s", other)
		}
		ids[e.Value.ID] = e.Key
		if _, ok := c.Sources[e.Value.Source]; !ok {
			errs.add(path+".source", nearest(e.Value.Source, slices.Sorted(maps.Keys(c.Sources))), "no such source")
		}
		if _, ok := c.Recipients[e.Value.Recipient]; !ok {
			errs.add(path+".recipient", nearest(e.Value.Recipient, slices.Sorted(maps.Keys(c.Recipients))), "no such recipient")
		}
		for key, line := range map[string]string{"schedule": e.Value.Schedule, "cut_off": e.Value.CutOff} {
			if line == "" {
				continue
			}
			if _, err := parseSchedule(line, c.Zone); err != nil {
				errs.add(path+"."+key, `write five fields: minute hour day month weekday, such as "30 2 5 * *"`, "%v", err)
			}
		}
	}
}

// parseSchedule reads a five-field cron line. robfig/cron's parser panics on
// some input and accepts lines that never fire, so its answer is tried out.
func parseSchedule(line string, zone *time.Location) (schedule cron.Schedule, err error) {
	defer func() {
		if recover() != nil {
			schedule, err = nil, errors.New("the schedule cannot be read")
		}
	}()
	if regexp.MustCompile(`(?i)TZ=|@every`).MatchString(line) {
		return nil, errors.New("time zones stand under organization.time_zone, and @every has no civil time")
	}
	schedule, err = cron.NewParser(cron.Minute | cron.Hour | cron.Dom | cron.Month | cron.Dow | cron.Descriptor).Parse(line)
	if err != nil {
		return nil, fmt.Errorf("the schedule cannot be read: %w", err)
	}
	if schedule.Next(time.Now().In(zone)).IsZero() {
		return nil, errors.New("the schedule never comes due")
	}
	return schedule, nil
}

func nearest(name string, among []string) string { return strictyaml.DidYouMean(name, among) }
