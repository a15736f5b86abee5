package agent

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/agent/build"
	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/phi"
)

// acceptedInput is one protective input as this run has read it.
type acceptedInput struct {
	Name   string `json:"name"`
	Kind   string `json:"kind"`
	Rows   int    `json:"rows"`
	SHA256 string `json:"sha256"`

	path    string
	written time.Time
}

// Groups of protective inputs whose closing rows are kept together: a denial
// in one consent source may end in another.
const (
	directiveGroup   = "directives"
	restrictionGroup = "restrictions"
	programGroup     = "programs"
	mergeGroup       = "merges"
)

// stale is the failure of every guard of a protective input.
func stale(err error, remedy, what string, args ...any) error {
	return fail(StaleInput, err, remedy, what, args...)
}

// loadInputs reads the protective inputs: all consents, restrictions and
// programs of the clinic, and the rosters that the policy names. Whatever is
// wrong with one of them stops the exchange. What closed a door at an earlier
// reading is restored first, so that a row that vanished opens nothing.
func (r *run) loadInputs(ctx context.Context) error {
	r.tables.Directives.OwnServers(r.request().Self)
	if err := r.loadMerges(ctx); err != nil {
		return err
	}
	for _, name := range r.inputNames() {
		if r.isMerges(name) {
			continue
		}
		if err := r.loadInput(ctx, name); err != nil {
			return err
		}
	}
	known, err := r.agent.knownRevocations(ctx)
	if err != nil {
		return err
	}
	for group, table := range map[string]keeper{directiveGroup: r.tables.Directives, restrictionGroup: r.tables.Restrictions, programGroup: r.tables.Programs} {
		if err := r.restoreClosings(ctx, group, table); err != nil {
			return err
		}
	}
	r.tables.Encounters = consent.NewEncounters(r.tables.Programs, r.tables.People)
	return r.noteRevocations(ctx, known)
}

// keeper is a table of what closes.
type keeper interface {
	Closing() []consent.ClosingRow
	Restore([]consent.ClosingRow) error
}

// restoreClosings brings back what closed at earlier readings and is in no
// file now without having been ended, and keeps what closes at this one. Every
// reading counts, that before a delivery and that of a run which fails too:
// what was once seen to close must not be forgotten because nothing was
// committed. Only a dry run writes nothing.
func (r *run) restoreClosings(ctx context.Context, group string, table keeper) error {
	kept, err := r.agent.closings(ctx, group)
	if err != nil {
		return err
	}
	err = table.Restore(kept)
	if changed := (*consent.InputError)(nil); errors.As(err, &changed) {
		return stale(err, "have it exported again", "protective inputs of %s", group)
	}
	if err != nil {
		return fail(Altered, err, "restore the state from its backup", "kept %s", group)
	}
	if r.opt.DryRun {
		return nil
	}
	return r.agent.keepClosings(ctx, group, kept, table.Closing())
}

// inputNames are the inputs that bind this exchange, in byte order.
func (r *run) inputNames() []string {
	var names []string
	for name, c := range r.agent.Config.Inputs {
		if kind := policyKinds[c.Kind]; kind != "roster" && kind != "table" || name == r.policy.People.Roster || r.looksUp(name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// looksUp tells whether the policy takes a value from a roster or table.
func (r *run) looksUp(input string) bool {
	for _, release := range r.policy.Release {
		for _, f := range release.Fields {
			if strings.HasPrefix(f.From, input+".") {
				return true
			}
		}
	}
	return false
}

func (r *run) loadInput(ctx context.Context, name string) error {
	c := r.agent.Config.Inputs[name]
	path := r.agent.Config.Path(c.File)
	written, err := r.fresh(name, path, c)
	if err != nil {
		return err
	}
	in, err := r.readInput(ctx, name, path, c.Kind)
	if err != nil {
		remedy := "mend the file; protective inputs tolerate no defect"
		return stale(err, remedy, "protective input %s", name)
	}
	if err := r.notShrunken(ctx, name, c, in.Rows); err != nil {
		return err
	}
	in.path, in.written = path, written
	r.inputs = append(r.inputs, *in)
	return nil
}

// clockSlack is how far the clock of the machine that writes an input may be
// ahead of ours.
const clockSlack = 15 * time.Minute

// fresh refuses an input that is missing or older than the stricter of the
// limits of configuration and policy. It gives when the file was written.
func (r *run) fresh(name, path string, c InputConfig) (written time.Time, err error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return written, stale(nil, "have it exported again", "protective input %s is missing: %s", name, path)
	}
	if err != nil {
		return written, stale(err, "", "protective input %s", name)
	}
	limit := time.Duration(c.MaxAge)
	if g, ok := r.policy.Inputs[name]; ok && g.MaxAge < limit {
		limit = g.MaxAge
	}
	age := r.agent.Now().Sub(info.ModTime())
	if age < -clockSlack {
		return written, stale(nil, "set the clocks of this machine and of the one that exports it, then have it exported again",
			"protective input %s is dated %s in the future, so its age cannot be told: %s", name, (-age).Round(time.Minute), path)
	}
	if age > limit {
		return written, stale(nil, "have it exported again", "protective input %s is %s old, more than the %s allowed: %s",
			name, age.Round(time.Minute), limit, path)
	}
	return info.ModTime(), nil
}

// notShrunken refuses an input of which more rows are gone than allowed since
// it was last accepted.
func (r *run) notShrunken(ctx context.Context, name string, c InputConfig, rows int) error {
	var before int
	err := r.agent.db.QueryRowContext(ctx, `SELECT rows FROM input WHERE name = ?`, name).Scan(&before)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err != nil {
		return err
	}
	limit := float64(c.ShrinkLimit)
	if g, ok := r.policy.Inputs[name]; ok && g.ShrinkLimit < limit {
		limit = g.ShrinkLimit
	}
	if lost := before - rows; float64(lost) > limit*float64(before) {
		return stale(nil, "find out why; if the loss is right, accept it with a file that ends its rows explicitly",
			"protective input %s has %d rows where it had %d, a loss of more than %.4g%%", name, rows, before, limit*100)
	}
	return nil
}

func (r *run) readInput(ctx context.Context, name, path, kind string) (*acceptedInput, error) {
	t := r.tables
	var in consent.Input
	var err error
	switch kind {
	case RegistryInput:
		in, err = t.Directives.LoadRegistry(path)
	case FHIRConsentInput:
		in, err = loadResources(ctx, t.Directives.LoadFHIRConsents, path)
	case RestrictionsInput:
		in, err = t.Restrictions.Load(path)
	case ProgramsInput:
		in, err = t.Programs.Load(path)
	case MergesInput:
		in, err = t.Merges.Load(path)
	case FHIRMergesInput:
		in, err = loadResources(ctx, t.Merges.LoadPatients, path)
	case TableInput:
		table, err := build.LoadTable(path, r.x.tables[name])
		if err != nil {
			return nil, err
		}
		r.lookUps[name] = table
		return &acceptedInput{Name: name, Kind: kind, Rows: table.Rows, SHA256: table.SHA256}, nil
	default:
		var roster *consent.Roster
		if roster, err = r.readRoster(ctx, path, kind); err == nil {
			t.Rosters[name], in = roster, roster.Input
		}
	}
	if err != nil {
		return nil, err
	}
	return &acceptedInput{Name: name, Kind: kind, Rows: in.Rows, SHA256: in.SHA256}, nil
}

func (r *run) readRoster(ctx context.Context, path, kind string) (*consent.Roster, error) {
	switch kind {
	case RosterInput:
		return consent.LoadRoster(path, r.tables.People)
	case AttributionInput:
		return consent.LoadAttribution(path, r.tables.People)
	}
	req := r.request()
	payor := consent.Payor{Ours: append(req.Organizations, r.policy.Recipient), Others: append(req.Others, req.Self...)}
	return loadResources(ctx, func(ctx context.Context, files []extract.File) (*consent.Roster, error) {
		return consent.LoadCoverage(ctx, files, payor, r.tables.People)
	}, path)
}

func loadResources[T any](ctx context.Context, load func(context.Context, []extract.File) (T, error), path string) (loaded T, err error) {
	file, err := extract.FileAt(path, &extract.FileRule{Format: extract.FHIRNDJSON})
	if err != nil {
		return loaded, err
	}
	return load(ctx, []extract.File{file})
}

// closings gives what a group of inputs has closed at earlier readings.
func (a *Agent) closings(ctx context.Context, group string) ([]consent.ClosingRow, error) {
	var list []consent.ClosingRow
	var sealed []byte
	err := each(ctx, a.db, row{&sealed}, func() error {
		plain, err := a.master.Unwrap("closing/"+group, sealed)
		if err != nil || len(plain) < 16 {
			return fail(KeyTrouble, err, "restore the master key that this state was made with", "a kept denial or restriction of %s cannot be opened", group)
		}
		list = append(list, consent.ClosingRow{Key: [16]byte(plain), Data: plain[16:]})
		return nil
	}, `SELECT sealed FROM closing WHERE input = ?`, group)
	return list, err
}

// keepClosings stores what closes now and did not before, and lets go of what
// was ended explicitly. It touches nothing else, so a reading that began
// earlier undoes nothing of one that began later.
func (a *Agent) keepClosings(ctx context.Context, group string, before, now []consent.ClosingRow) error {
	ended := make(map[[16]byte]phi.Bytes, len(before))
	for _, row := range before {
		ended[row.Key] = row.Data
	}
	var changed []consent.ClosingRow
	for _, row := range now {
		if data, known := ended[row.Key]; !known || !bytes.Equal(data, row.Data) {
			changed = append(changed, row)
		}
	}
	for _, row := range now {
		delete(ended, row.Key)
	}
	if len(changed)+len(ended) == 0 {
		return nil
	}
	hash := a.keyedHash("closing-entry")
	return inTx(ctx, a.db, func(tx *sql.Tx) error {
		for key := range ended {
			entry := hash(key[:])
			if _, err := tx.ExecContext(ctx, `DELETE FROM closing WHERE input = ? AND entry = ?`, group, entry[:]); err != nil {
				return err
			}
		}
		for _, row := range changed {
			entry, sealed := hash(row.Key[:]), a.master.Wrap("closing/"+group, append(row.Key[:], row.Data...))
			if _, err := tx.ExecContext(ctx, `INSERT INTO closing (input, entry, sealed) VALUES (?, ?, ?)
				ON CONFLICT (input, entry) DO UPDATE SET sealed = excluded.sealed`, group, entry[:], sealed); err != nil {
				return err
			}
		}
		return nil
	})
}

// acceptInputs records within a commit what was read.
func (r *run) acceptInputs(ctx context.Context, tx *sql.Tx) error {
	for _, in := range r.inputs {
		if _, err := tx.ExecContext(ctx, `INSERT INTO input (name, rows, sha256, read) VALUES (?, ?, ?, ?)
			ON CONFLICT (name) DO UPDATE SET rows = excluded.rows, sha256 = excluded.sha256, read = excluded.read`,
			in.Name, in.Rows, in.SHA256, r.agent.Now().UnixMilli()); err != nil {
			return err
		}
	}
	return nil
}

// inputColumns are the columns of a roster that a policy may look up.
func inputColumns(path, kind string) []string {
	switch {
	case policyKinds[kind] != "roster":
		return nil
	case kind == CoverageInput:
		return []string{"member_id"}
	}
	t, err := extract.OpenTable(path, nil, []string{"*"})
	if err != nil {
		return []string{"member_id"} // the run will say what is wrong with it
	}
	defer t.Close()
	return slices.Clone(t.Columns())
}
