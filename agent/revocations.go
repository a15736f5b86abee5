package agent

import (
	"context"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/posternhealth/postern/internal/phi"
)

// RevocationQuery chooses what Revocations tells.
type RevocationQuery struct {
	Exchange string        // "" for all
	Since    string        // a civil day: only what was read from it on
	Over     time.Duration // only what is not in effect after so long; 0 for all
	Subject  phi.Bytes     // only this person's, merged ids included; nil for all
}

// RevocationReport is what patients have taken back, denied or restricted, and
// how long it took until it counted.
type RevocationReport struct {
	Revocations []Revocation `json:"revocations"`
	Unread      []Unread     `json:"unread"`  // inputs that changed and that nothing has read since
	Latency     []Latency    `json:"latency"` // by exchange, over the revocations above
	Late        int          `json:"late"`    // with Over: how much there is of both
}

// Revocation is one of them. It does not tell whose it is.
type Revocation struct {
	Kind      string    `json:"kind"`            // as consent.Revocation has it
	Input     string    `json:"input,omitempty"` // the name of the input it was read from
	Day       string    `json:"day,omitempty"`   // on which the row says that it was signed or ended
	Written   time.Time `json:"written,omitzero"`
	Read      time.Time `json:"read"`
	Over      time.Time `json:"over,omitzero"` // when it was first found ended
	Exchanges []Effect  `json:"exchanges"`

	entry   []byte
	reading int64
}

// Effect is when a revocation first was in hand at a decision of an exchange.
// The exchange is one that has decided at least once.
type Effect struct {
	Exchange  string    `json:"exchange"`
	InEffect  time.Time `json:"in_effect,omitzero"`          // zero while the exchange has decided nothing since
	Made      string    `json:"made,omitempty"`              // that decision: run or delivery
	Number    int64     `json:"number,omitempty"`            // of its drop
	SinceDay  int64     `json:"seconds_since_day,omitempty"` // from the beginning of Day; until now while it is not in effect
	SinceFile int64     `json:"seconds_since_file"`          // from Written, or from Read where no file is known
	Voided    []int64   `json:"voided,omitempty"`            // drops that were not delivered because of it
}

// Unread is an input whose file is not the one that was read last.
type Unread struct {
	Input   string    `json:"input"`
	Written time.Time `json:"written"`
	Seconds int64     `json:"seconds"` // since then
}

// Latency sums up an exchange, in seconds from file to effect.
type Latency struct {
	Exchange string `json:"exchange"`
	InEffect int    `json:"in_effect"`
	NotYet   int    `json:"not_yet"`
	Median   int64  `json:"median_seconds"`
	Longest  int64  `json:"longest_seconds"`
}

// Revocations tells what closes, since when, and when it first counted in each
// exchange.
func (a *Agent) Revocations(ctx context.Context, q RevocationQuery) (*RevocationReport, error) {
	report := &RevocationReport{Revocations: []Revocation{}, Unread: []Unread{}, Latency: []Latency{}}
	var names []string
	for _, e := range a.Config.Exchanges {
		if q.Exchange == "" || q.Exchange == e.Key {
			names = append(names, e.Key)
		}
	}
	if q.Exchange != "" {
		if _, err := a.Config.Exchange(q.Exchange); err != nil {
			return nil, err
		}
	}
	list, err := a.revocations(ctx, q)
	if err != nil {
		return nil, err
	}
	voided, err := a.voidedBy(ctx)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		steps, err := a.decisions(ctx, name)
		if err != nil {
			return nil, err
		}
		if len(steps) > 0 {
			report.Latency = append(report.Latency, a.addEffects(list, name, steps, voided, q.Over))
		}
	}
	for _, v := range list {
		if q.Over > 0 && len(v.Exchanges) == 0 {
			continue
		}
		report.Revocations = append(report.Revocations, v)
	}
	for _, l := range report.Latency {
		if q.Over > 0 {
			report.Late += l.NotYet
		}
	}
	return report, a.addUnread(ctx, report, q.Over)
}

// revocations reads what the state holds, oldest first.
func (a *Agent) revocations(ctx context.Context, q RevocationQuery) (list []Revocation, err error) {
	persons := map[[16]byte]bool{}
	if q.Subject != nil {
		ids, err := a.allIDs(ctx, q.Subject)
		if err != nil {
			return nil, err
		}
		hash := a.keyedHash("revocation-person")
		for _, id := range ids {
			persons[hash([]byte(id))] = true
		}
	}
	since, _ := a.dayBegins(q.Since)
	var v Revocation
	var read, written, over int64
	var person, sealed []byte
	err = each(ctx, a.db, row{&v.entry, &v.reading, &read, &written, &over, &person, &sealed}, func() error {
		if q.Subject != nil && (len(person) != 16 || !persons[[16]byte(person)]) {
			return nil
		}
		var text revocationText
		plain, err := a.master.Unwrap("revocation", sealed)
		if err == nil {
			err = json.Unmarshal(plain, &text)
		}
		if err != nil {
			return fail(KeyTrouble, err, "restore the master key that this state was made with", "a revocation cannot be opened")
		}
		v.Kind, v.Day, v.Input, v.Exchanges = text.Kind, text.Day, text.Input, []Effect{}
		v.Read, v.Written, v.Over = time.UnixMilli(read).UTC(), unixTime(written), unixTime(over)
		list = append(list, v)
		return nil
	}, `SELECT entry, reading, read, written, over, person, sealed FROM revocation WHERE read >= ? ORDER BY read, entry`, since.UnixMilli())
	return list, err
}

func unixTime(milliseconds int64) time.Time {
	if milliseconds == 0 {
		return time.Time{}
	}
	return time.UnixMilli(milliseconds).UTC()
}

// decision is one of an exchange that had more in hand than all before it.
type decision struct {
	reading, number int64
	at              time.Time
	made            string
}

// decisions gives them in their order, so that readings and times both grow.
func (a *Agent) decisions(ctx context.Context, exchange string) (list []decision, err error) {
	var d decision
	var at int64
	err = each(ctx, a.db, row{&d.reading, &d.number, &at, &d.made}, func() error {
		if d.at = time.UnixMilli(at).UTC(); len(list) == 0 || d.reading > list[len(list)-1].reading {
			list = append(list, d)
		}
		return nil
	}, `SELECT reading, number, at, made FROM judged WHERE exchange = ? ORDER BY at, reading`, exchange)
	return list, err
}

// addEffects adds to each revocation when it took effect in an exchange, or only
// that it has not after more than over, and sums up.
func (a *Agent) addEffects(list []Revocation, exchange string, decisions []decision, voided map[voidedKey][]int64, over time.Duration) Latency {
	sum, took := Latency{Exchange: exchange}, []int64{}
	for i := range list {
		v := &list[i]
		e := Effect{Exchange: exchange, Voided: voided[voidedKey{[16]byte(v.entry), v.reading, exchange}]}
		until := a.Now()
		if n, _ := slices.BinarySearchFunc(decisions, v.reading, func(d decision, reading int64) int { return int(d.reading - reading) }); n < len(decisions) {
			e.InEffect, e.Made, e.Number = decisions[n].at, decisions[n].made, decisions[n].number
			until = e.InEffect
		} else if !v.Over.IsZero() {
			continue // it ended before there was anything to decide
		}
		began := v.Written
		if began.IsZero() {
			began = v.Read
		}
		e.SinceFile = int64(until.Sub(began).Seconds())
		if day, told := a.dayBegins(v.Day); told {
			e.SinceDay = int64(until.Sub(day).Seconds())
		}
		if over > 0 && (!e.InEffect.IsZero() || time.Duration(max(e.SinceDay, e.SinceFile))*time.Second <= over) {
			continue
		}
		v.Exchanges = append(v.Exchanges, e)
		if e.InEffect.IsZero() {
			sum.NotYet++
		} else {
			took = append(took, e.SinceFile)
		}
	}
	if sum.InEffect = len(took); len(took) > 0 {
		slices.Sort(took)
		sum.Median, sum.Longest = took[len(took)/2], took[len(took)-1]
	}
	return sum
}

type voidedKey struct {
	entry    [16]byte
	reading  int64
	exchange string
}

// voidedBy gives the drops that were voided because of each revocation.
func (a *Agent) voidedBy(ctx context.Context) (map[voidedKey][]int64, error) {
	drops := map[voidedKey][]int64{}
	var entry []byte
	var key voidedKey
	var number int64
	err := each(ctx, a.db, row{&entry, &key.reading, &key.exchange, &number}, func() error {
		key.entry = [16]byte{}
		copy(key.entry[:], entry)
		drops[key] = append(drops[key], number)
		return nil
	}, `SELECT entry, reading, exchange, number FROM voided_by ORDER BY number`)
	return drops, err
}

// addUnread adds the inputs in which something may stand that nothing has read.
func (a *Agent) addUnread(ctx context.Context, report *RevocationReport, over time.Duration) error {
	known, err := a.inputsRead(ctx)
	if err != nil || len(known) == 0 { // nothing was ever decided
		return err
	}
	for name, c := range a.Config.Inputs {
		info, err := os.Stat(a.Config.Path(c.File))
		if err != nil || !closesByInput(c.Kind) || info.ModTime().UnixMilli() == known[name] {
			continue // of a file that is missing, the next run says so
		}
		age := a.Now().Sub(info.ModTime())
		if over > 0 && age <= over {
			continue
		}
		report.Unread = append(report.Unread, Unread{name, info.ModTime().UTC(), int64(age.Seconds())})
		if over > 0 {
			report.Late++
		}
	}
	slices.SortFunc(report.Unread, func(x, y Unread) int { return x.Written.Compare(y.Written) })
	return nil
}

// dayBegins is when a civil day begins on the clinic's clock.
func (a *Agent) dayBegins(day string) (begins time.Time, told bool) {
	begins, err := time.ParseInLocation(time.DateOnly, day, a.Config.Zone)
	return begins, err == nil
}
