package build

import (
	"fmt"
	"testing"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/policies"
	"github.com/posternhealth/postern/transfer"
)

// The key of a row is told of wherever its form has it: last in a CSV of our own,
// in any column of the recipient's layout.
func TestScopesNameRowsByTheirKeys(t *testing.T) {
	const key = "mhsvxjq9jq3edvxspy2v"
	spill, err := newSpill(t.TempDir())
	must(t, err)
	defer spill.close()
	columns := []policies.Column{{Name: "a", From: "a", Width: 3}, {Name: "k", RowKey: true, Width: 22}, {Name: "b", From: "b", Width: 4}}
	file := &policies.LaidOut{Columns: columns}
	for line, f := range map[string]form{
		"1,\"x,y\"," + key + "\n":            {columns: []string{"a", "b", "row_key"}},
		"\"1,2\"|\"" + key + "\"|\"x\"\r\n":  {layout: &policies.Layout{Delimiter: '|', LineEnd: "\r\n"}, file: file},
		fmt.Sprintf("1,2%-22sx,y \n", key):   {layout: &policies.Layout{LineEnd: "\n"}, file: file},
		"1,2" + "  " + key + "    " + "\r\n": {layout: &policies.Layout{LineEnd: "\r\n"}, file: file},
	} {
		s := &scopes{numbers: map[string]uint32{}, keyed: true, lines: newPartSpool(transfer.ScopeOfConsent, true, nil, spill, false)}
		rests, err := s.number("ground: 42 CFR 2.53")
		must(t, err)
		must(t, s.row(2, 7, &row{rests: rests, bytes: []byte(line), subject: consent.NoSubject}, &f))
		if string(s.line) != "2,7,1,"+key+"\n" {
			t.Errorf("of %q it tells %q", line, s.line)
		}
	}
}
