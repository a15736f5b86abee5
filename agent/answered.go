package agent

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"slices"

	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/transfer"
)

// answered holds the rows that a file answers: some 40 bytes for each.
type answered struct {
	file  string
	sent  int64 // rows of the drop; 0: a person names some
	rows  map[[deid.CodeLen]byte]answeredRow
	codes []string
}

type answeredRow struct {
	verdict uint8  // the worst
	code    uint16 // its code
	taken   bool   // some line says that it was taken without a remark
	sent    bool   // the exchange has a row of this key
}

// add notes a row. Several lines may give several codes; the worst counts.
func (r *answered) add(row transfer.RowAnswer) error {
	if len(row.Key) != deid.CodeLen {
		return &transfer.ResponseError{File: r.file, Line: row.Line, Why: "what stands there is no row key"}
	}
	if r.rows == nil {
		r.rows = map[[deid.CodeLen]byte]answeredRow{}
	}
	key := [deid.CodeLen]byte([]byte(row.Key))
	known, met := r.rows[key]
	taken := known.taken || row.Verdict == transfer.Taken
	if taken && (row.Verdict == transfer.Refused || known.verdict == uint8(transfer.Refused)) {
		return &transfer.ResponseError{File: r.file, Line: row.Line, Why: "an earlier line says otherwise of the same row"}
	}
	if known.taken = taken; !met || uint8(row.Verdict) > known.verdict {
		code := slices.Index(r.codes, row.Code)
		if code < 0 {
			code, r.codes = len(r.codes), append(r.codes, row.Code)
		}
		known.verdict, known.code = uint8(row.Verdict), uint16(code)
	}
	if r.rows[key] = known; r.sent > 0 && int64(len(r.rows)) > 2*r.sent+strayRows {
		return &transfer.ResponseError{File: r.file, Line: row.Line, Why: "it answers far more rows than the drop has"}
	}
	return nil
}

// strayRows is how many rows a file may answer, beyond twice those of the drop,
// before it is taken for no answer: they are held in memory.
const strayRows = 100_000

// know finds out which rows the exchange has sent. Others may use the state
// between its steps.
func (r *answered) know(ctx context.Context, db query, exchange string) error {
	if len(r.rows) == 0 {
		return nil
	}
	var epochs []int64
	var epoch int64
	err := each(ctx, db, row{&epoch}, func() error {
		epochs = append(epochs, epoch)
		return nil
	}, `SELECT id FROM epoch`)
	for _, epoch := range epochs {
		err = errors.Join(err, r.knowOf(ctx, db, exchange, epoch))
	}
	return err
}

func (r *answered) knowOf(ctx context.Context, db query, exchange string, epoch int64) error {
	const together = 50_000
	record := []byte{}
	for n := together; n == together; {
		n = 0
		var key sql.RawBytes
		if err := each(ctx, db, row{&record, &key}, func() error {
			n++
			if len(key) == deid.CodeLen {
				if known, met := r.rows[[deid.CodeLen]byte(key)]; met {
					known.sent = true
					r.rows[[deid.CodeLen]byte(key)] = known
				}
			}
			return nil
		}, `SELECT record, key FROM row_key WHERE epoch = ? AND exchange = ? AND record > ? ORDER BY record LIMIT ?`,
			epoch, exchange, slices.Clone(record), together); err != nil {
			return err
		}
	}
	return nil
}

// told leaves of the rows those that the drop has told, where drops tell changes:
// by keys of other drops nothing of this one is answered.
func (r *answered) told(ctx context.Context, db query, exchange string, number int64) error {
	told, changes := map[[deid.CodeLen]byte]bool{}, false
	var key sql.RawBytes
	var held bool
	if err := each(ctx, db, row{&key, &held}, func() error {
		if changes = changes || held; len(key) == deid.CodeLen {
			told[[deid.CodeLen]byte(key)] = true
		}
		return nil
	}, `SELECT key, 1 FROM told WHERE exchange = ?1 AND number = ?2 UNION ALL SELECT key, 0 FROM row_answer WHERE exchange = ?1 AND number = ?2`, exchange, number); err != nil || !changes {
		return err
	}
	for key, row := range r.rows {
		if row.sent = row.sent && told[key]; !row.sent {
			r.rows[key] = row
		}
	}
	return nil
}

// count gives the numbers of rows by verdict, and of those that were never sent.
func (r *answered) count() (counts [3]int64, unknown int64) {
	for _, row := range r.rows {
		if row.sent {
			counts[row.verdict]++
		} else {
			unknown++
		}
	}
	return counts, unknown
}

// store keeps the rows that were not simply taken, in place of those of the
// answer before.
func (r *answered) store(ctx context.Context, tx *sql.Tx, exchange string, s *reply) error {
	if _, err := tx.ExecContext(ctx, `DELETE FROM row_answer WHERE exchange = ? AND number = ? AND ? IN (rule, ?)`, exchange, s.number, s.rule, ruleByHand); err != nil {
		return err
	}
	put, err := tx.PrepareContext(ctx, `INSERT INTO row_answer (exchange, number, rule, key, code, verdict) VALUES (?, ?, ?, ?, ?, ?)`)
	if err != nil {
		return err
	}
	defer put.Close()
	var keys [][deid.CodeLen]byte
	for key, row := range r.rows {
		if row.sent && row.verdict != uint8(transfer.Taken) {
			keys = append(keys, key)
		}
	}
	slices.SortFunc(keys, func(a, b [deid.CodeLen]byte) int { return bytes.Compare(a[:], b[:]) }) // the order of the table
	for _, key := range keys {
		row := r.rows[key]
		if _, err := put.ExecContext(ctx, exchange, s.number, s.rule, string(key[:]), r.codes[row.code], transfer.Verdict(row.verdict).String()); err != nil {
			return err
		}
	}
	return nil
}
