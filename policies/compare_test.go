package policies

import "testing"

func TestAPolicyComparedWithItselfDoesNotChange(t *testing.T) {
	env := testEnv(t)
	for _, file := range list(t, "testdata/right/*.yaml") {
		p, err := Load(file)
		if err != nil {
			t.Error(err)
			continue
		}
		if c := Compare(p, p, env, env); len(c.Widens)+len(c.Narrows)+len(c.Also) != 0 {
			t.Error(c)
		}
	}
}
