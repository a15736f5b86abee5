package agent

import (
	"testing"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// A word means an exchange or a recipient; without one, all that are sent to.
func TestWhomTheDoctorSees(t *testing.T) {
	c := &Config{Recipients: map[string]RecipientConfig{"acme": {}, "hie": {}, "unused": {}}, Exchanges: strictyaml.Ordered[ExchangeConfig]{
		{Key: "scores", Value: ExchangeConfig{Recipient: "acme"}}, {Key: "treatment", Value: ExchangeConfig{Recipient: "hie"}}}}
	for word, want := range map[string]int{"": 2, "scores": 1, "hie": 1, "unused": 1, "acm": 0} {
		if got, err := c.recipientsOf(word); len(got) != want || (err == nil) != (want > 0) {
			t.Errorf("%q: %v, %v", word, got, err)
		}
	}
}
