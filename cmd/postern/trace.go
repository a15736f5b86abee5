package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"github.com/posternhealth/postern/agent"
)

// trace goes from a sent row back to its source, or from a line of the source to
// the rows that it has become.
func trace(k *call) error {
	drop := k.flags.Int64("drop", 0, "`NUMBER` of the drop that holds the row")
	exchange := k.flags.String("exchange", "", "the `EXCHANGE`, where several have a drop of this number")
	row := k.flags.String("row", "", "the `KEY` of the row; or PART:ROW, such as 1:83")
	source := k.flags.String("source", "", "instead: `FILE:LINE` of an extract; in which drops it is, as which rows")
	archive := k.flags.String("archive-key", "", "`FILE` of the archive's private key")
	shown := k.flags.String("show-source", "", "write the row and its source line, as they are, to this new `FILE`; - is the terminal")
	to := k.page()
	if err := k.parse(0, 0); err != nil {
		return err
	}
	asked := *source != ""
	if asked == (*drop > 0 && *row != "") || asked && (*drop != 0 || *row != "" || *shown != "") {
		return usageFailure("it is not told what to trace", "write --drop N --row KEY, or --source FILE:LINE")
	}
	if *archive == "" {
		return usageFailure("what a drop was made from is encrypted to the archive's key", "name the file of its private half, which lies in a safe: --archive-key FILE")
	}
	if asked {
		return k.traceSource(*exchange, *source, *archive)
	}
	return k.with(func(a *agent.Agent) error {
		t, err := a.TraceRow(k.ctx, *exchange, *drop, *row, *archive)
		if err != nil {
			return err
		}
		if err := to.write(k, t, t.Report()); err != nil || *shown == "" {
			return err
		}
		return k.showValues(*shown, t.Show)
	})
}

// showValues writes values of records where the caller wants them: to a file that
// is not there yet, for nobody else to read, or to the terminal itself.
func (k *call) showValues(path string, write func(io.Writer) error) error {
	if path == "-" {
		f, ok := k.out.(*os.File)
		if info, err := os.Stdout.Stat(); !ok || err != nil || info.Mode()&os.ModeCharDevice == 0 {
			return usageFailure("--show-source - writes values of records, and the output is no terminal", "name a file: --show-source FILE")
		}
		fmt.Fprintln(f)
		return write(f)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return &agent.Failure{Class: agent.Usage, What: "--show-source", Err: err, Remedy: "name a new file in a folder that can be written"}
	}
	return errors.Join(write(f), f.Close())
}

func (k *call) traceSource(exchange, source, archive string) error {
	at := strings.LastIndexByte(source, ':')
	line, err := strconv.ParseInt(source[at+1:], 10, 64)
	if at < 1 || err != nil || line < 1 {
		return usageFailure("--source is no FILE:LINE", "write --source scores/scores.csv:83")
	}
	return k.with(func(a *agent.Agent) error {
		found, gone, err := a.TraceSource(k.ctx, exchange, source[:at], line, archive)
		if err != nil {
			return err
		}
		return ends(agent.AnsweredNo, len(found) == 0, k.showSourceTrace(found, gone))
	})
}

func (k *call) showSourceTrace(found []agent.SourceTrace, gone []*agent.TracedDrop) error {
	if k.json {
		return k.answer(map[string]any{"found": append([]agent.SourceTrace{}, found...), "gone": append([]*agent.TracedDrop{}, gone...)})
	}
	if len(found) == 0 {
		fmt.Fprintln(k.out, "no drop was made from this line; files are named as below the source's folder")
	}
	var rows [][]any
	for _, t := range found {
		first := []any{t.Exchange, t.Number, t.State, t.Source.Now}
		for _, r := range t.Rows {
			rows = append(rows, append(first, fmt.Sprintf("%s, row %d of %s", t.Disposition, r.Row, r.File), r.RowKey))
		}
		if len(t.Rows) == 0 {
			var reasons []string
			for _, r := range t.Reasons {
				reasons = append(reasons, strings.TrimSuffix(r.Reason+" ("+r.Law, " (")+strings.Repeat(")", min(1, len(r.Law))))
			}
			rows = append(rows, append(first, t.Disposition+": "+cmp.Or(strings.Join(reasons, ", "), t.Detail), ""))
		}
	}
	if len(rows) > 0 {
		if err := tabulate(k, "exchange\tdrop\tstate\tfile now\twhat became of it\trow key", rows, asIs); err != nil {
			return err
		}
	}
	for _, d := range gone {
		fmt.Fprintf(k.out, "drop %d of %s cannot be asked: the clinic's copy is gone (to be kept until %s)\n", d.Number, d.Exchange, cmp.Or(d.KeptUntil, "a day not told"))
	}
	return nil
}
