// Package synthetic invents a clinic, Clearview Behavioral Health: its extract
// (FHIR R4 NDJSON, a delimited file of scores and one of visits), its schemas, and its
// protective inputs (roster, consents, restrictions, Part 2 programs).
//
// It promises that no person is real (telephones are 555-01xx, social security
// numbers begin with 9, provider numbers with 1999), that equal options give
// equal bytes, and that identifiers, free text and mishaps stand wherever they
// stand in real extracts. The demo, tests and benchmarks are built on it.
package synthetic

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// Names by which the synthetic inputs know the recipients.
const (
	HealthPlan = "acme-health-plan"
	Exchange   = "valley-hie"
	Registry   = "national-outcomes-registry"
	Part2Form  = "tpo-2026"
)

// AsOf is the day that the default period ends before.
const AsOf = "2026-06-30"

// Options say which clinic is invented. The zero value is the demo's.
type Options struct {
	Seed     uint64
	Patients int       // 0 is 400, or one for every 25 records
	From, To time.Time // first and last day of service; zero is the two years before AsOf
	Records  int       // exactly so many scores; 0 is as many as the patients' courses have
	Mess     bool      // with a few broken, doubled and contradictory records
	Visits   bool      // with a file of visits, and drug screening in the Part 2 program
}

// Summary counts what was written: records per file (bad ones included), and bytes.
type Summary struct {
	Patients int
	Records  map[string]int // by path below the folder
	Bytes    int64
}

// InExtract counts the records of the extract; the rest are protective inputs.
func (s Summary) InExtract() (records int) {
	for name, n := range s.Records {
		if strings.HasPrefix(name, "extract/") {
			records += n
		}
	}
	return records
}

type clinic struct {
	Options
	from, days int // first day of service since 1970-01-01, and how many there are
	out        map[string]*file
	dir        string
	random     *rand.Rand
	line       []byte
	summary    Summary
	broken     error
}

type file struct {
	*bufio.Writer
	under *os.File
}

// Write invents the clinic below dir, which it makes. The marker
// extract/_COMPLETE is written last.
func Write(dir string, opt Options) (Summary, error) {
	c, err := newClinic(dir, opt)
	if err != nil {
		return Summary{}, err
	}
	c.writeSchema("scores")
	c.writePlaces()
	c.writeHeaders()
	if c.Visits {
		c.writeSchema("visits")
		c.header(visitsFile, "visit_id,person_id,visit_date,kind,outcome,discharge_date,days_after_crisis,provider_npi,birth_date,sex,race,ethnicity,town,state,zip,phone")
	}
	for i := range c.Patients {
		c.writePatient(i)
		if c.broken != nil {
			break
		}
	}
	if c.Mess {
		c.writeMess()
	}
	err = c.close()
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "extract", "_COMPLETE"), nil, 0o600)
	}
	if err != nil {
		return Summary{}, fmt.Errorf("writing the synthetic clinic: %w", err)
	}
	return c.summary, nil
}

func newClinic(dir string, opt Options) (*clinic, error) {
	asOf, _ := time.Parse(time.DateOnly, AsOf)
	if opt.To.IsZero() {
		opt.To = asOf.AddDate(0, 0, -1)
	}
	if opt.From.IsZero() {
		opt.From = asOf.AddDate(-2, 0, 0)
	}
	if opt.Patients == 0 {
		if opt.Patients = 400; opt.Records > 0 {
			opt.Patients = max(1, opt.Records/25)
		}
	}
	from, to := int(opt.From.Unix()/86400), int(opt.To.Unix()/86400)
	if opt.Patients < 0 || opt.Records < 0 || to-from < 30 {
		return nil, errors.New("a synthetic clinic needs patients and a period of a month or more")
	}
	return &clinic{Options: opt, from: from, days: to - from + 1, dir: dir, out: map[string]*file{},
		summary: Summary{Patients: opt.Patients, Records: map[string]int{}}}, nil
}

// write appends to a file below the folder, and counts a record of it.
func (c *clinic) write(name string, line []byte) {
	f := c.out[name]
	if f == nil {
		if f = c.create(name); f == nil {
			return
		}
	}
	c.summary.Records[name]++
	c.summary.Bytes += int64(len(line))
	_, err := f.Write(line)
	c.broken = cmp.Or(c.broken, err)
}

func (c *clinic) writef(name, format string, args ...any) {
	c.line = fmt.Appendf(c.line[:0], format, args...)
	c.write(name, c.line)
}

func (c *clinic) create(name string) *file {
	path := filepath.Join(c.dir, filepath.FromSlash(name))
	err := os.MkdirAll(filepath.Dir(path), 0o700)
	under, opening := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err = cmp.Or(err, opening); err != nil {
		c.broken = cmp.Or(c.broken, err)
		return nil
	}
	c.out[name] = &file{bufio.NewWriterSize(under, 1<<18), under}
	return c.out[name]
}

// header writes a line that is no record.
func (c *clinic) header(name, line string) {
	c.writef(name, "%s\n", line)
	c.summary.Records[name] = 0
}

func (c *clinic) close() error {
	err := c.broken
	for _, f := range c.out {
		err = errors.Join(err, f.Flush(), f.under.Close())
	}
	return err
}

func (c *clinic) chance(percent int) bool { return c.random.IntN(100) < percent }

func pick[T any](c *clinic, of []T) T { return of[c.random.IntN(len(of))] }

func date(day int) string { return time.Unix(int64(day)*86400, 0).UTC().Format(time.DateOnly) }
