package extract

import (
	"errors"
	"strings"
	"testing"
)

func table(t *testing.T, text string) (rows []string, tab *Table, err error) {
	t.Helper()
	tab, err = OpenTable(file(t, "roster.csv", text, FileRule{}).Path, []string{"subject", "from"}, []string{"to"})
	if err != nil {
		return nil, nil, err
	}
	for tab.Next() {
		rows = append(rows, strings.Join([]string{string(tab.Get("subject")), string(tab.Get("from")), string(tab.Get("to"))}, ";"))
	}
	return rows, tab, tab.Err()
}

func TestTable(t *testing.T) {
	rows, tab, err := table(t, "\ufefffrom,subject,to\r\n2026-01-01,p1,\r\n\r\n\"2026\n\",\"p\"\"2\",x\r\n")
	if err != nil || strings.Join(rows, " ") != "p1;2026-01-01; p\"2;2026\n;x" || tab.Rows() != 2 || tab.Line() != 4 || len(tab.SHA256()) != 64 {
		t.Errorf("%q %v %d rows, line %d, sum %s", rows, err, tab.Rows(), tab.Line(), tab.SHA256())
	}
	if rows, tab, err = table(t, "subject,from\n"); err != nil || len(rows) != 0 || tab.Get("to") != nil {
		t.Errorf("a table without rows: %v", err)
	}
	if err := tab.Close(); err != nil {
		t.Error(err)
	}
}

func TestTableToleratesNothing(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", ":1: is empty"},
		{"\n\nx", ":1: is empty"},
		{"subject\n", `:1: the header has no column "from"`},
		{"subject,from,from\n", ":1: column 3 of the header has the name of an earlier one"},
		{"subject,from,Secret\n", ":1: column 3 of the header is none of [subject from to]"},
		{"subject,from,\n", ":1: column 3 of the header is none of"},
		{"\"subject,from\n", ":1: a quoted cell that does not end"},
		{"subject,\xff\n", ":1: the header is not UTF-8"},
		{"subject,from\np1,x\np2\n", ":3: the row has 1 columns, the header 2"},
		{"subject,from\np1,x,\n", ":2: the row has 3 columns, the header 2"},
		{"subject,from\np1,\xff\n", ":2: the row cannot be read: not UTF-8"},
		{"subject,from\np1,a\"b\n", ":2: the row cannot be read: a quote within a cell that is not quoted"},
		{"subject,from\np1,\"a\"b\n", ":2: the row cannot be read: text after the closing quote of a cell"},
		{"subject,from", ":1: the last row does not end"},
		{"subject,from\np1,x\np2,x", ":3: the last row does not end"},
		{"subject,from\np1,x\np1,\"a\np2,x\n", ":3: the row cannot be read: a quoted cell that does not end"},
	} {
		_, _, err := table(t, c.text)
		var fe *FileError
		if !errors.As(err, &fe) || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "Secret") {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	if _, err := OpenTable("nowhere.csv", nil, nil); err == nil {
		t.Error("a file that is not there is a table")
	}
}

// A table that is cut anywhere but after a row is never taken for a whole one.
func TestATableThatIsCutIsFoundOut(t *testing.T) {
	text := "subject,from,to\np1,2026-01-01,\n\"p\"\"2\",\"2026\n\",x\np3,,2026-12-31\r\n"
	for n := range len(text) {
		rows, _, err := table(t, text[:n])
		if whole := text[:n] == "subject,from,to\n" || text[:n] == "subject,from,to\np1,2026-01-01,\n" || n == len(text)-len("p3,,2026-12-31\r\n"); whole != (err == nil) {
			t.Errorf("cut after %d bytes: %q, %v", n, rows, err)
		}
	}
}
