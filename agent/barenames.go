package agent

import (
	"cmp"
	"context"
	"database/sql"
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
	Marker      string             `yaml:"marker"`      // template of the empty files that are sent after all others; "": none
	SideFolder  string             `yaml:"side_folder"` // where manifest, sums, signature and book go; "": they stay
}

// EnvironmentConfig is what names call the two environments.
type EnvironmentConfig struct {
	Production string `yaml:"production,required"`
	Test       string `yaml:"test,required"`
}

// check says what is wrong with the definition itself.
func (c *BareConfig) check(path string, r RecipientConfig, errs configErrors) {
	const dated = "add {sequence}, {version} or {date}; or write reuse: when-gone, if the recipient says so"
	template, err := transfer.ParseNameTemplate(c.Name)
	marker, wrong := transfer.ParseNameTemplate(c.Marker)
	distinct := func(t transfer.NameTemplate) bool {
		return c.Reuse == "when-gone" || t.Has("sequence", "version", "date", "month", "day")
	}
	switch {
	case err != nil:
		errs.add(path+".name", "write a name such as {sender}_{dataset}_{date}_{version}.csv.pgp", "%v", err)
	case wrong != nil:
		errs.add(path+".marker", "write a name such as {file}.done", "%v", wrong)
	case template.Has("file"):
		errs.add(path+".name", "remove {file}", "{file} is the name of a file, and stands in marker alone")
	case !distinct(template):
		errs.add(path+".name", dated, "each drop would have the name of the one before")
	case c.Marker != "" && !marker.Has("file") && !distinct(marker):
		errs.add(path+".marker", dated, "each drop would have the marker of the one before")
	case (template.Has("environment") || marker.Has("environment")) != (c.Environment != nil):
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
// names of the first file of each dataset and their markers; the datasets are those of
// the policy, and its control file. Where names do not tell the environment, those
// of a test begin with TEST-.
func (a *Agent) bareNames(x *exchange, v transfer.NameValues, test bool) (bare *transfer.Bare, first []string, err error) {
	c := x.recipient.Bare
	v.Sender = cmp.Or(c.Sender, a.Config.Organization.Code)
	if c.Environment != nil {
		v.Environment = c.Environment.Production
		if test {
			v.Environment = c.Environment.Test
		}
	}
	name := func(key, template, dataset string, part int64, file string) (string, error) {
		v := v
		v.Dataset, v.Part, v.File = cmp.Or(c.Datasets[dataset], dataset), part, file
		t, err := transfer.ParseNameTemplate(template)
		text := ""
		if err == nil {
			text, err = t.Name(v)
		}
		if err != nil {
			return "", a.badName(x, key, "", "%v", err)
		}
		if test && !t.Has("environment", "file") {
			text = "TEST-" + text
		}
		if c.MaxName > 0 && len(text) > c.MaxName {
			return "", a.badName(x, "max_name", "shorten what name, marker, sender, datasets or environment give, or write numbers with a width, as in {sequence:3}; or ask the recipient to take longer names",
				"%s has %d characters, and %d are taken", text, len(text), c.MaxName)
		}
		return text, nil
	}
	datasets := sentDatasets(x)
	bare = &transfer.Bare{Compression: c.Compression, Name: func(dataset string, part int64) (string, error) {
		if !slices.Contains(datasets, dataset) {
			return "", nil
		}
		return name("name", c.Name, dataset, part, "")
	}}
	if c.Marker != "" {
		bare.Marker = func(dataset string, part int64) (string, error) {
			file, err := bare.Name(dataset, part)
			if err != nil {
				return "", err
			}
			return name("marker", c.Marker, dataset, part, file)
		}
	}
	first, err = a.firstNames(x, bare, datasets)
	return bare, first, err
}

// sentDatasets are those of which a bare drop has files.
func sentDatasets(x *exchange) (list []string) {
	for _, release := range x.policy.Release {
		list = append(list, release.Dataset)
	}
	if x.policy.Layout != nil && x.policy.Layout.Control != nil {
		list = append(list, transfer.ControlFile)
	}
	return list
}

func (a *Agent) firstNames(x *exchange, bare *transfer.Bare, datasets []string) (first []string, err error) {
	for i, dataset := range datasets {
		text, err := bare.Name(dataset, 1)
		if err != nil {
			return nil, err
		}
		if other := slices.Index(first, text); other >= 0 {
			return nil, a.badName(x, "name", "add {dataset}", "%s and %s would both be called %s", datasets[other], datasets[i], text)
		}
		first = append(first, text)
	}
	for _, dataset := range datasets {
		if bare.Marker == nil {
			break
		}
		text, err := bare.Marker(dataset, 1)
		switch at := slices.Index(first, text); {
		case err != nil:
			return nil, err
		case at < 0:
			first = append(first, text)
		case at < len(datasets):
			return nil, a.badName(x, "marker", "write a name of its own, such as {file}.done", "%s would be both a file and its marker", text)
		}
	}
	return first, nil
}

func (a *Agent) badName(x *exchange, key, remedy, why string, args ...any) error {
	return fail(Configuration, nil, remedy, "%s: recipients.%s.bare.%s: %s", a.Config.File, x.config.Recipient, key, fmt.Sprintf(why, args...))
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
	default:
		return err
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
	for version, before := int64(1), ""; ; version++ {
		bare, first, err := r.agent.bareNames(r.x, transfer.NameValues{Date: r.opt.DecidedAt, Sequence: number, Version: version}, false)
		if err != nil {
			return nil, err
		}
		used, err := r.agent.usedName(ctx, r.agent.db, r.x, first)
		switch {
		case err != nil:
			return nil, err
		case used == "":
			return bare, nil
		case used == before: // it tells no version
			return nil, fail(Configuration, nil, "add {version} or {sequence} to recipients."+r.x.config.Recipient+".bare.name and marker, or run on another day", "a file called %s was sent to %s before, and its rule is reuse: %s", used, r.x.config.Recipient, c.Reuse)
		}
		before = used
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

// lines are what approvers sign of it.
func (c *BareConfig) lines() []string {
	lines := []string{line("name", c.Name), line("sender", c.Sender), line("reuse", c.Reuse), line("compression", c.Compression), line("marker", c.Marker), line("side folder", c.SideFolder)}
	if e := c.Environment; e != nil {
		lines = append(lines, line("production", e.Production)+line(", test", e.Test))
	}
	for _, dataset := range slices.Sorted(maps.Keys(c.Datasets)) {
		lines = append(lines, line("dataset", dataset)+line(", called", c.Datasets[dataset]))
	}
	return lines
}
