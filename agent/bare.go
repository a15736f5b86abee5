package agent

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/posternhealth/postern/transfer"
)

// BareConfig is profile bare: the recipient gets one file of each dataset, by a
// name that was agreed on, and nothing else. docs/bare.md says what for.
type BareConfig struct {
	Name        string             `yaml:"name,required"` // see transfer.NameTemplate
	MaxName     int                `yaml:"max_name"`      // characters of the longest name that is taken; 0: any
	Sender      string             `yaml:"sender"`        // in names; the organization's code unless written
	Datasets    map[string]string  `yaml:"datasets"`      // what names call them
	Environment *EnvironmentConfig `yaml:"environment"`
	Reuse       string             `yaml:"reuse,required" words:"never|after-rejection|when-gone"`
	Compression string             `yaml:"compression,required" words:"none|gzip|zip|zstd"`
	SideFolder  string             `yaml:"side_folder"` // where manifest, sums, signature and book go; "": they stay
}

// EnvironmentConfig is what names call the two environments.
type EnvironmentConfig struct {
	Production string `yaml:"production,required"`
	Test       string `yaml:"test,required"`
}

// check says what is wrong with the definition itself.
func (c *BareConfig) check(path string, r RecipientConfig, errs configErrors) {
	template, err := transfer.ParseNameTemplate(c.Name)
	switch {
	case err != nil:
		errs.add(path+".name", "write a name such as {sender}_{dataset}_{date}_{version}.csv.pgp", "%v", err)
	case c.Reuse != "when-gone" && !template.Has("sequence", "version", "date", "month", "day"):
		errs.add(path+".name", "add {sequence}, {version} or {date}; or write reuse: when-gone, if the recipient says so", "each drop would have the name of the one before")
	case template.Has("environment") != (c.Environment != nil):
		errs.add(path+".environment", "write environment: {production: WORD, test: WORD} and {environment} in the name, or neither", "the word of the environment stands in names, or there is none")
	case c.Environment != nil && c.Environment.Production == c.Environment.Test:
		errs.add(path+".environment", "ask the recipient for two words", "test and production have the same name")
	case r.Destination.MaxRows > 0 && !template.Has("part"):
		errs.add(path+".name", "add {part}, such as {part:2}", "destination.max_rows would make several files of one dataset, all of one name")
	}
	if c.MaxName < 0 {
		errs.add(path+".max_name", "write how many characters the longest name has that is taken", "%d is no number of characters", c.MaxName)
	}
	if c.SideFolder != "" && r.Destination.SFTP == nil && r.Destination.Folder == nil {
		errs.add(path+".side_folder", "remove it: all stays at the clinic", "only a destination of kind sftp or folder can have a side folder")
	}
	if r.Receipt.Mode == "signed" && c.SideFolder == "" {
		errs.add(path+".side_folder", "add side_folder: FOLDER, or write receipt: {mode: none}", "a signed receipt answers a manifest, and the recipient gets none")
	}
}

// bareNames gives how files are named, by the values that the drop has, and the
// first file of each dataset; the datasets are those of the policy, and its control
// file. Where names do not tell the environment, those of a test begin with TEST-.
func (a *Agent) bareNames(x *exchange, v transfer.NameValues, test bool) (bare *transfer.Bare, first []string, err error) {
	c := x.recipient.Bare
	template, err := transfer.ParseNameTemplate(c.Name)
	if err != nil {
		return nil, nil, err
	}
	v.Sender = cmp.Or(c.Sender, a.Config.Organization.Code)
	prefix := ""
	switch {
	case c.Environment != nil && test:
		v.Environment = c.Environment.Test
	case c.Environment != nil:
		v.Environment = c.Environment.Production
	case test:
		prefix = "TEST-"
	}
	var datasets []string
	for _, release := range x.policy.Release {
		datasets = append(datasets, release.Dataset)
	}
	if x.policy.Layout != nil && x.policy.Layout.Control != nil {
		datasets = append(datasets, transfer.ControlFile)
	}
	name := func(dataset string, part int64) (string, error) {
		if !slices.Contains(datasets, dataset) {
			return "", nil
		}
		v := v
		v.Dataset, v.Part = cmp.Or(c.Datasets[dataset], dataset), part
		name, err := template.Name(v)
		if name = prefix + name; err == nil && c.MaxName > 0 && len(name) > c.MaxName {
			err = fail(Configuration, nil, "shorten what name, sender, datasets or environment give, or write numbers with a width, as in {sequence:3}; or ask the recipient to take longer names",
				"%s: recipients.%s.bare.max_name: %s has %d characters, and %d are taken", a.Config.File, x.config.Recipient, name, len(name), c.MaxName)
		}
		return name, err
	}
	for i, dataset := range datasets {
		text, err := name(dataset, 1)
		if err != nil {
			return nil, nil, err
		}
		if other := slices.Index(first, text); other >= 0 {
			return nil, nil, fmt.Errorf("%s and %s would both be called %s; add {dataset}", datasets[other], datasets[i], text)
		}
		first = append(first, text)
	}
	return &transfer.Bare{Compression: c.Compression, Name: name}, first, nil
}

// barable refuses what profile bare cannot keep: rows under 42 CFR Part 2, whose
// notice and scope of consent lie in the book, and whose number would show in
// the size of a file of their own; and parts that no dataset's file holds.
func (a *Agent) barable(x *exchange) error {
	why, remedy := "", ""
	_, _, err := a.bareNames(x, transfer.NameValues{Date: a.Now(), Sequence: 1, Version: 1}, false)
	for _, test := range []bool{false, true} {
		_, _, long := a.bareNames(x, transfer.NameValues{Date: a.Now(), Longest: true}, test)
		err = cmp.Or(err, long)
	}
	switch {
	case x.policy.ReleasesPart2():
		why = "can release rows under 42 CFR Part 2, whose notice (2.32) would stay behind"
		remedy = "write output.part2_rows: leave-out, or remove bare:, so that they go in a drop"
	case x.policy.Output.Mode == "delta":
		why, remedy = "sends changes, which lie in several files of one dataset", "use mode: full, or remove bare:"
	case errors.As(err, new(*Failure)):
		return err
	case err != nil:
		return fail(Configuration, nil, "", "%s: recipients.%s.bare.name: %v", a.Config.File, x.config.Recipient, err)
	default:
		return nil
	}
	return fail(PolicyRefused, nil, remedy, "policy %s %s, and %s takes bare files", x.policy.Name, why, x.config.Recipient)
}

// nameFiles finds the names of the next drop's files: those of the lowest version
// that were not used before, if the template has versions.
func (r *run) nameFiles(ctx context.Context, number int64) (*transfer.Bare, error) {
	c := r.x.recipient.Bare
	if c == nil {
		return nil, nil
	}
	template, err := transfer.ParseNameTemplate(c.Name)
	if err != nil {
		return nil, err
	}
	for version := int64(1); ; version++ {
		bare, first, err := r.agent.bareNames(r.x, transfer.NameValues{Date: r.opt.DecidedAt, Sequence: number, Version: version}, false)
		if err != nil {
			return nil, fail(Configuration, err, "", "names of files for %s", r.x.config.Recipient)
		}
		used, err := r.agent.usedName(ctx, r.agent.db, r.x, first)
		switch {
		case err != nil:
			return nil, err
		case used == "":
			return bare, nil
		case !template.Has("version"):
			return nil, fail(Configuration, nil, "add {version} or {sequence} to recipients."+r.x.config.Recipient+".bare.name, or run on another day", "a file called %s was sent to %s before, and its rule is reuse: %s", used, r.x.config.Recipient, c.Reuse)
		}
	}
}

// testFiles names the files of a test drop; a version stands for its number.
func (a *Agent) testFiles(x *exchange, number int64) (*transfer.Bare, error) {
	if x.recipient.Bare == nil {
		return nil, nil
	}
	bare, _, err := a.bareNames(x, transfer.NameValues{Date: a.Now().In(a.Config.Zone), Sequence: number, Version: number}, true)
	return bare, err
}

// usedName is one of the names that the recipient was, or may have been, sent
// before; "" when it was sent none. What a voided drop never sent is free, and so,
// by the rule after-rejection, is what the recipient has rejected; by the rule
// when-gone, what no longer waits, as the delivery looks whether it is still there.
func (a *Agent) usedName(ctx context.Context, q query, x *exchange, names []string) (string, error) {
	for _, name := range names {
		var n int
		err := q.QueryRowContext(ctx, `SELECT count(*) FROM file_name JOIN delivery USING (exchange, number)
			WHERE recipient = ? AND name = ? AND NOT (state = ? AND exposed = 0) AND NOT (? AND state = ?) AND NOT (? AND state NOT IN (?, ?))`,
			x.config.Recipient, name, stateVoided, x.recipient.Bare.Reuse == "after-rejection", stateRejected, x.recipient.Bare.Reuse == "when-gone", stateSealed, stateUploading).Scan(&n)
		if err != nil || n > 0 {
			return name, err
		}
	}
	return "", nil
}

// commitNames takes the names for this drop.
func (r *run) commitNames(ctx context.Context, tx *sql.Tx) error {
	if r.bare == nil {
		return nil
	}
	names := slices.Sorted(maps.Keys(r.built.Sealed.Outward()))
	if used, err := r.agent.usedName(ctx, tx, r.x, names); err != nil || used != "" {
		return cmp.Or(err, fail(Locked, nil, "run again", "another drop to %s took the name %s while this run was under way; nothing was committed", r.x.config.Recipient, used))
	}
	for _, name := range names {
		if _, err := tx.ExecContext(ctx, `INSERT INTO file_name (recipient, name, exchange, number) VALUES (?, ?, ?, ?)`, r.x.config.Recipient, name, r.x.name, r.built.Number); err != nil {
			return err
		}
	}
	return nil
}

// deliver sends the files of a drop; of a bare one first those that the recipient
// takes, then the others to the side folder, if it has one. A recipient may take a
// bare file away at once, so each that has arrived is noted, and not sent again.
func (a *Agent) deliver(ctx context.Context, x *exchange, drop *pendingDrop, destination transfer.Destination, files []transfer.File, log func(transfer.Event)) (transfer.Evidence, error) {
	if x.recipient.Bare == nil {
		return destination.Deliver(ctx, files, log)
	}
	before, err := a.arrived(ctx, x, drop)
	if err != nil {
		return transfer.Evidence{}, err
	}
	_, side := transfer.SplitBare(files)
	sent, err := a.outward(ctx, x, drop.number, files)
	if err != nil {
		return transfer.Evidence{}, err
	}
	sent = notArrived(sent, before)
	evidence := transfer.Evidence{State: transfer.HashVerified}
	var noted error
	if len(sent) > 0 {
		arrived := slices.Clone(before)
		if evidence, err = destination.Deliver(ctx, sent, func(e transfer.Event) {
			log(e)
			if e.State > transfer.Uploading {
				arrived = append(arrived, e)
				noted = cmp.Or(noted, a.noteArrived(ctx, x, drop, arrived))
			}
		}); cmp.Or(err, noted) != nil {
			return evidence, cmp.Or(err, noted)
		}
	}
	for _, e := range before {
		evidence.State = min(evidence.State, e.State)
	}
	evidence.Files = append(before, evidence.Files...)
	if x.recipient.Bare.SideFolder == "" {
		return evidence, nil
	}
	beside, err := a.destination(ctx, x.recipient.beside())
	if err != nil {
		return evidence, err
	}
	defer beside.Close()
	more, err := beside.Deliver(ctx, side, log)
	evidence.Files, evidence.State = append(evidence.Files, more.Files...), min(evidence.State, more.State)
	return evidence, err
}

// arrived are the bare files of a drop that an earlier attempt delivered.
func (a *Agent) arrived(ctx context.Context, x *exchange, drop *pendingDrop) (list []transfer.Event, err error) {
	var text string
	if err = a.db.QueryRowContext(ctx, `SELECT arrived FROM delivery WHERE exchange = ? AND number = ?`, x.name, drop.number).Scan(&text); err == nil {
		err = json.Unmarshal([]byte(text), &list)
	}
	return list, err
}

func notArrived(files []transfer.File, arrived []transfer.Event) []transfer.File {
	return slices.DeleteFunc(slices.Clone(files), func(f transfer.File) bool {
		return slices.ContainsFunc(arrived, func(e transfer.Event) bool { return e.File == f.Name })
	})
}

func (a *Agent) noteArrived(ctx context.Context, x *exchange, drop *pendingDrop, arrived []transfer.Event) error {
	text, err := json.Marshal(arrived)
	if err != nil {
		return err
	}
	_, err = a.db.ExecContext(context.WithoutCancel(ctx), `UPDATE delivery SET arrived = ? WHERE exchange = ? AND number = ?`, string(text), x.name, drop.number)
	return err
}

// outward are the files of a drop that lie in the recipient's folder. Of bare ones
// they tell whether another drop may have left a file by that name.
func (a *Agent) outward(ctx context.Context, x *exchange, number int64, files []transfer.File) ([]transfer.File, error) {
	if x.recipient.Bare == nil {
		return files, nil
	}
	files, _ = transfer.SplitBare(slices.Clone(files))
	for i := range files {
		if err := a.db.QueryRowContext(ctx, `SELECT count(*) > 0 FROM file_name JOIN delivery USING (exchange, number)
			WHERE recipient = ? AND name = ? AND exposed = 1 AND NOT (exchange = ? AND number = ?)`,
			x.config.Recipient, files[i].Name, x.name, number).Scan(&files[i].Reused); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// beside is the recipient with its side folder as the folder of drops; check lets
// no other destination have one.
func (r RecipientConfig) beside() RecipientConfig {
	r.Destination, _ = r.Destination.elsewhere(r.Bare.SideFolder)
	return r
}

// lines are what approvers sign of it.
func (c *BareConfig) lines() []string {
	lines := []string{line("name", c.Name), line("sender", c.Sender), line("reuse", c.Reuse), line("compression", c.Compression), line("side folder", c.SideFolder)}
	if e := c.Environment; e != nil {
		lines = append(lines, line("production", e.Production)+line(", test", e.Test))
	}
	for _, dataset := range slices.Sorted(maps.Keys(c.Datasets)) {
		lines = append(lines, line("dataset", dataset)+line(", called", c.Datasets[dataset]))
	}
	return lines
}
