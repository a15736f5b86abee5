package policies

import (
	"slices"
	"testing"
)

func TestIncludesAreListedByName(t *testing.T) {
	p := &Policy{includes: []Include{{"texts/notice.txt", "2"}, {"sets/phq.yaml", "1"}}}
	if want := []Include{{"sets/phq.yaml", "1"}, {"texts/notice.txt", "2"}}; !slices.Equal(p.Includes(), want) {
		t.Errorf("%v", p.Includes())
	}
}
