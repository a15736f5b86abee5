package agent

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"database/sql"
	"encoding/json"
	"slices"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// revocationSchema is how long it takes until what closes counts. A reading of
// the inputs that is the first to meet something takes the next number; a
// decision that stood on the readings up to a number had all of that in hand.
const revocationSchema = `
CREATE TABLE IF NOT EXISTS revocation (
	entry   BLOB NOT NULL,                   -- keyed hash of what the row closes
	reading INTEGER NOT NULL,                -- the reading that met it first
	read    INTEGER NOT NULL,                -- when that was, Unix milliseconds
	written INTEGER NOT NULL,                -- when its file was, Unix milliseconds; 0 when it stood in none
	over    INTEGER NOT NULL DEFAULT 0,      -- when a reading first found it ended, Unix milliseconds
	person  BLOB NOT NULL,                   -- keyed hash of the person's id
	sealed  BLOB NOT NULL,                   -- revocationText
	PRIMARY KEY (entry, reading)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS judged (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,               -- the drop
	made     TEXT NOT NULL,                  -- run: it was committed; delivery: it was judged again
	reading  INTEGER NOT NULL,               -- readings up to this one were in hand
	at       INTEGER NOT NULL,               -- Unix milliseconds
	PRIMARY KEY (exchange, number, made, reading)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS voided_by (
	exchange TEXT NOT NULL,
	number   INTEGER NOT NULL,
	entry    BLOB NOT NULL,
	reading  INTEGER NOT NULL,
	PRIMARY KEY (entry, reading, exchange, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS input_read (
	name    TEXT PRIMARY KEY,
	written INTEGER NOT NULL                 -- when the file was, as last read; Unix milliseconds
) STRICT;
`

// Values of judged.made.
const (
	madeByRun      = "run"
	madeByDelivery = "delivery"
)

// revocationText is what the state holds sealed of a revocation.
type revocationText struct {
	Kind  string `json:"kind"`
	Day   string `json:"day,omitempty"`
	Input string `json:"input,omitempty"`
}

// knownRevocations are those that stood when a reading began.
type knownRevocations struct {
	newest int64              // the last reading that met something
	open   map[[16]byte]int64 // reading by entry
}

// knownRevocations must be asked before what is kept of earlier readings is:
// then whatever it knows is in hand.
func (a *Agent) knownRevocations(ctx context.Context) (*knownRevocations, error) {
	k := &knownRevocations{open: map[[16]byte]int64{}}
	var entry []byte
	var reading, over int64
	err := each(ctx, a.db, row{&entry, &reading, &over}, func() error {
		if k.newest = max(k.newest, reading); over == 0 && len(entry) == 16 {
			k.open[[16]byte(entry)] = reading
		}
		return nil
	}, `SELECT entry, reading, over FROM revocation`)
	return k, err
}

// keyedHash gives a hash for one use, by which something is found again and by
// which nobody without the master key finds what it stands for.
func (a *Agent) keyedHash(use string) func([]byte) [16]byte {
	secret := a.master.Key(use)
	mac := hmac.New(sha256.New, secret[:])
	return func(b []byte) [16]byte {
		mac.Reset()
		mac.Write(b)
		return [16]byte(mac.Sum(nil))
	}
}

// noteRevocations writes down what this reading is the first to meet, and what
// it finds ended. Its number is what decisions by this reading have in hand:
// where another reading came between, that is only what both know of, so a
// time that is told may be late and is never early.
func (r *run) noteRevocations(ctx context.Context, known *knownRevocations) error {
	if r.reading = known.newest; r.opt.DryRun {
		return nil
	}
	today := extract.DayOf(r.agent.Now().In(r.agent.Config.Zone))
	hash, met := r.agent.keyedHash("revocation-entry"), map[[16]byte]bool{}
	var fresh []consent.Revocation
	for _, v := range append(r.tables.Directives.Revocations(today), r.tables.Restrictions.Revocations(today)...) {
		entry := hash(v.Key[:])
		if _, open := known.open[entry]; !open && !met[entry] {
			fresh = append(fresh, v)
		}
		met[entry] = true
	}
	var over [][16]byte
	for entry := range known.open {
		if !met[entry] {
			over = append(over, entry)
		}
	}
	changed, err := r.changedInputs(ctx)
	if err != nil || len(fresh)+len(over)+len(changed) == 0 {
		return err
	}
	now := r.agent.Now().UnixMilli()
	return inTx(ctx, r.agent.db, func(tx *sql.Tx) error {
		for _, entry := range over {
			if _, err := tx.ExecContext(ctx, `UPDATE revocation SET over = ? WHERE entry = ? AND reading = ?`, now, entry[:], known.open[entry]); err != nil {
				return err
			}
		}
		for _, in := range changed {
			if _, err := tx.ExecContext(ctx, `INSERT INTO input_read (name, written) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET written = excluded.written`,
				in.Name, in.written.UnixMilli()); err != nil {
				return err
			}
		}
		return r.addRevocations(ctx, tx, fresh, known.newest, now)
	})
}

func (r *run) addRevocations(ctx context.Context, tx *sql.Tx, fresh []consent.Revocation, newest, now int64) error {
	var last int64
	if err := tx.QueryRowContext(ctx, `SELECT coalesce(max(reading), 0) FROM revocation`).Scan(&last); err != nil || len(fresh) == 0 {
		return err
	}
	add, err := tx.PrepareContext(ctx, `INSERT INTO revocation (entry, reading, read, written, person, sealed) VALUES (?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer add.Close()
	entry, person := r.agent.keyedHash("revocation-entry"), r.agent.keyedHash("revocation-person")
	for _, v := range fresh {
		e, p := entry(v.Key[:]), person(r.tables.People.ID(v.Subject))
		if last != newest { // a reading came between, and may have noted it
			var known bool
			if err := tx.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM revocation WHERE entry = ? AND over = 0)`, e[:]).Scan(&known); err != nil {
				return err
			}
			if known {
				continue
			}
		}
		text, written := revocationText{Kind: v.Kind}, int64(0)
		if v.Day != extract.NoDay {
			text.Day = v.Day.String()
		}
		if i := slices.IndexFunc(r.inputs, func(in acceptedInput) bool { return in.path == v.File }); i >= 0 {
			text.Input, written = r.inputs[i].Name, r.inputs[i].written.UnixMilli()
		}
		plain, err := json.Marshal(text)
		if err != nil {
			return err
		}
		if _, err := add.ExecContext(ctx, e[:], last+1, now, written, p[:], r.agent.master.Wrap("revocation", plain)); err != nil {
			return err
		}
	}
	if last == newest {
		r.reading = last + 1
	}
	return nil
}

// closesByInput tells inputs whose rows may be revocations.
func closesByInput(kind string) bool {
	return policyKinds[kind] == "consents" || policyKinds[kind] == "restrictions"
}

// changedInputs are the files whose time is not that of the last reading.
func (r *run) changedInputs(ctx context.Context) (list []acceptedInput, err error) {
	known, err := r.agent.inputsRead(ctx)
	for _, in := range r.inputs {
		if closesByInput(in.Kind) && known[in.Name] != in.written.UnixMilli() {
			list = append(list, in)
		}
	}
	return list, err
}

// inputsRead tells how old each input was that was read last.
func (a *Agent) inputsRead(ctx context.Context) (map[string]int64, error) {
	known := map[string]int64{}
	var name string
	var written int64
	err := each(ctx, a.db, row{&name, &written}, func() error {
		known[name] = written
		return nil
	}, `SELECT name, written FROM input_read`)
	return known, err
}

// judgement is what became of a drop when it was judged again.
type judgement struct {
	reason  extract.Reason // of the first record that may no longer leave
	reading int64
	persons [][16]byte // whose records a decision of the patient keeps back now
}

// byPatient are the reasons that come from what a patient has decided.
const byPatient = extract.ReasonSet(1<<extract.RestrictionSelfPay | 1<<extract.RestrictionAgreed | 1<<extract.RestrictionIndeterminate |
	1<<extract.ConsentMissing | 1<<extract.ConsentDenied | 1<<extract.ConsentExpired | 1<<extract.ConsentRevoked | 1<<extract.ConsentIndeterminate |
	1<<extract.Part2NoConsent | 1<<extract.MinorControls | 1<<extract.StateLawConsent)

// noteJudged writes down by which reading a drop was decided.
func (a *Agent) noteJudged(ctx context.Context, db interface {
	ExecContext(context.Context, string, ...any) (sql.Result, error)
}, exchange string, number int64, made string, reading int64) error {
	_, err := db.ExecContext(ctx, `INSERT INTO judged (exchange, number, made, reading, at) VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
		exchange, number, made, reading, a.Now().UnixMilli())
	return err
}

// commitJudged is the step of a run's commit.
func (r *run) commitJudged(ctx context.Context, tx *sql.Tx) error {
	return r.agent.noteJudged(ctx, tx, r.x.name, r.built.Number, madeByRun, r.reading)
}

// noteVoided writes down because of what drops were voided: what was first met
// after the judged one had been made, of the persons whose records fell.
func (a *Agent) noteVoided(ctx context.Context, tx *sql.Tx, exchange string, judged int64, voided []int64, persons [][16]byte) error {
	theirs := map[[16]byte]bool{}
	for _, person := range persons {
		theirs[person] = true
	}
	var causes []Revocation
	var v Revocation
	var person []byte
	if err := each(ctx, tx, row{&v.entry, &v.reading, &person}, func() error {
		if len(person) == 16 && theirs[[16]byte(person)] {
			causes = append(causes, v)
		}
		return nil
	}, `SELECT entry, reading, person FROM revocation WHERE over = 0 AND reading >
		coalesce((SELECT max(reading) FROM judged WHERE exchange = ? AND number = ? AND made = ?), 0)`, exchange, judged, madeByRun); err != nil {
		return err
	}
	for _, v := range causes {
		for _, number := range voided {
			if _, err := tx.ExecContext(ctx, `INSERT INTO voided_by (exchange, number, entry, reading) VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING`,
				exchange, number, v.entry, v.reading); err != nil {
				return err
			}
		}
	}
	return nil
}
