package build

import (
	"testing"

	"github.com/posternhealth/postern/internal/keyring"
)

// Exchanges of one recipient and purpose share an epoch. Their rows must not
// share keys: a void names a row by its key alone.
func TestRowKeysOfTwoExchangesDiffer(t *testing.T) {
	e := &Epoch{Name: "payer/HOPERAT/1", Secret: keyring.NewSecret()}
	drawn := map[string]string{}
	for _, exchange := range []string{"scores", "visits"} {
		keys := newRowKeys(nil, e.stream("row-key", exchange, 1), nil)
		for range 20 {
			key, err := keys.key([16]byte{}, false)
			if err != nil {
				t.Fatal(err)
			}
			if other, met := drawn[key]; met {
				t.Fatalf("a row of %s has the key of a row of %s", exchange, other)
			}
			drawn[key] = exchange
		}
	}
}
