package consent

import (
	"maps"
	"slices"
	"strings"
)

// A row that could not be understood, though its patient could be told, is kept
// like a denial: it closes until it is mended, not until it vanishes. It has no
// id, so the row that mends it is one which has come since, can be understood,
// and says the same in all columns but those that could not be.

// nameCell is a column that names a row, and what it holds.
type nameCell struct{ column, value string }

// identifyInDoubt names a row that cannot be understood by the columns that can.
func identifyInDoubt(list string, by []nameCell, why []string) identity {
	parts := []string{list, "in doubt"}
	for _, n := range by {
		if !slices.ContainsFunc(why, func(s string) bool { return strings.HasPrefix(s, n.column+" ") }) {
			parts = append(parts, n.column, n.value)
		}
	}
	return identify(parts...)
}

// inDoubt is a row that could not be understood.
type inDoubt struct {
	subject Subject
	key     identity
	why     []string
}

// mending finds the rows of one kind of lists that were in doubt and are mended.
type mending struct {
	list               string
	required, optional []string                // columns
	names              func(*cells) []nameCell // reads a row, and gives what names it: the patient first
	people             *People
	files              []listFile
	others             map[identity]int // how many rows said the same in all other columns when a row in doubt was first met
}

type listFile struct{ path, sha256 string }

// load reads one more list.
func (m *mending) load(path string, row func(*cells)) (Input, error) {
	in, err := readTable(path, m.required, m.optional, row)
	m.files = append(m.files, listFile{path, in.SHA256})
	return in, err
}

// settle tells which of the rows kept in doubt have been mended, and notes what
// is to be known of those that have not been.
func (m *mending) settle(kept map[identity]int, doubts []inDoubt) (mended func(identity) bool, err error) {
	n, err := m.count(doubts)
	if err != nil {
		return nil, err
	}
	m.others = maps.Clone(n)
	maps.Copy(m.others, kept)
	return func(key identity) bool { return n[key] > kept[key] }, nil
}

// count reads the files again and counts, for each row in doubt, those that can
// be understood and say the same in all other columns. It reads nothing where
// there is no doubt.
func (m *mending) count(rows []inDoubt) (map[identity]int, error) {
	n, of := map[identity]int{}, map[Subject][]inDoubt{}
	for _, r := range rows {
		of[r.subject] = append(of[r.subject], r)
	}
	for _, file := range m.files {
		if len(rows) == 0 {
			break
		}
		in, err := readTable(file.path, m.required, m.optional, func(c *cells) {
			if by := m.names(c); c.sound() {
				for _, r := range of[m.people.Intern([]byte(by[0].value))] {
					if identifyInDoubt(m.list, by, r.why) == r.key {
						n[r.key]++
					}
				}
			}
			c.why = nil
		})
		if err != nil {
			return nil, err
		}
		if in.SHA256 != file.sha256 {
			return nil, &InputError{file.path, 0, "changed while it was read"}
		}
	}
	return n, nil
}
