package build

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/deid"
	"github.com/posternhealth/postern/internal/keyring"
)

// TestAMergedPersonKeepsTheCode: whoever had a code under the id that was given
// up goes on under it; where both ids had one, that of the id that stands holds.
func TestAMergedPersonKeepsTheCode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "merges.csv")
	if err := os.WriteFile(path, []byte("from,into\nold,new\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	epoch := Epoch{Name: "e", Secret: keyring.NewSecret()}
	drop := func(number int64, merged bool, known map[[16]byte]KnownCode, ids ...string) (codes []string, kept map[[16]byte]KnownCode) {
		people := consent.NewPeople()
		if merged {
			m := consent.NewMerges(people)
			if _, err := m.Load(path); err != nil {
				t.Fatal(err)
			}
			if err := m.Settle(); err != nil {
				t.Fatal(err)
			}
		}
		c := &crosswalk{epoch: &epoch, known: known, codes: map[consent.Subject][deid.CodeLen]byte{}, stream: epoch.stream("person-code", "x", number)}
		for _, id := range ids {
			code := c.code(people.Intern([]byte(id)), people)
			codes = append(codes, string(code[:]))
		}
		kept = map[[16]byte]KnownCode{}
		for _, added := range c.added {
			kept[added.Person] = KnownCode{Sealed: added.Sealed}
		}
		return codes, kept
	}
	before, kept := drop(1, false, nil, "old")
	if after, added := drop(2, true, kept, "new", "old"); after[0] != before[0] || after[1] != before[0] || len(added) != 0 {
		t.Errorf("the code changed from %q to %q", before, after)
	}
	before, kept = drop(1, false, nil, "old", "new")
	if after, _ := drop(2, true, kept, "old"); after[0] != before[1] {
		t.Errorf("of the codes %q, %q holds", before, after)
	}
	if after, added := drop(2, true, nil, "old", "new"); after[0] != after[1] || len(added) != 1 {
		t.Errorf("one person has the codes %q", after)
	}
}
