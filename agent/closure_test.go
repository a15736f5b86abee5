package agent

import (
	"reflect"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// Whatever values the configuration holds, two closures that differ have texts
// that differ, and the text says again what was in them: else somebody could
// have one thing signed and run another.
func TestClosureTextIsExact(t *testing.T) {
	value := rapid.OneOf(rapid.String(), rapid.SampledFrom([]string{
		"", "a\nb", "a\n    b", "x sha256:00", "\"quoted\"", "a\r", "input consents sha256:00", closureIndent, "é", "a\u2028b",
	}))
	draw := func(t *rapid.T) *Closure {
		c := &Closure{Exchange: rapid.SampledFrom([]string{"scores", "visits"}).Draw(t, "exchange")}
		for range rapid.IntRange(0, 4).Draw(t, "parts") {
			if name := inputPart + value.Draw(t, "name"); rapid.Bool().Draw(t, "file") {
				c.file(name, "", strings.Repeat("0", 64))
			} else {
				c.add(name, []string{line("kind", value.Draw(t, "kind")), line("file", value.Draw(t, "file path"))})
			}
		}
		return c
	}
	rapid.Check(t, func(t *rapid.T) {
		one, other := draw(t), draw(t)
		if (one.Text() == other.Text()) != reflect.DeepEqual(one, other) {
			t.Fatalf("%+v\n%+v", one, other)
		}
		read, err := parseClosure(one.Text())
		if err != nil || !reflect.DeepEqual(read, one) {
			t.Fatalf("%v: %+v\n%+v", err, one, read)
		}
	})
}

func TestClosureThatIsNone(t *testing.T) {
	for _, text := range []string{"", "policy sha256:00\n", closureHeading + "x\n    a line of no part\n", closureHeading + "x\nneither\n"} {
		if c, err := parseClosure(text); err == nil {
			t.Errorf("%q is read as %+v", text, c)
		}
	}
}

func TestChangesAreNamed(t *testing.T) {
	was, now := &Closure{}, &Closure{}
	was.file("policy", "", "1")
	now.file("policy", "", "2")
	was.add("destination", []string{"folder a", "receipts b"})
	now.add("destination", []string{"folder c", "receipts b"})
	was.add("host key", []string{"SHA256:x"})
	now.add("archive key", []string{"age1y"})
	was.add("same", []string{"same"})
	now.add("same", []string{"same"})
	was.add("order", []string{"a", "b"})
	now.add("order", []string{"b", "a"})
	var got []string
	for _, c := range changes(was, now) {
		got = append(got, c.String())
	}
	want := []string{"policy: 1 → 2", "destination: folder a → folder c", "archive key: not there → age1y", "order: nothing more → nothing more", "host key: SHA256:x → not there"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}
