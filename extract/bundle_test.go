package extract

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

func TestBundle(t *testing.T) {
	text := "\ufeff\n{\n \"entry\" : [\n" + // entries begin on line 4
		`{"fullUrl":"urn:uuid:11","resource":{"resourceType":"Observation","id":"o1","subject":{"reference":"urn:uuid:22"},"encounter":{"reference":"urn:uuid:33"},"performer":[{"reference":"urn:uuid:44"}]}},` + "\n" +
		`{"fullUrl":"urn:uuid:22","resource":` + "\n\n" + `{"resourceType":"Patient","id":"p"}},` + "\n" + // resource on line 7
		`{"fullUrl":"urn:uuid:33","resource":{"resourceType":"Encounter","id":"e","subject":{"reference":"urn:uuid:55"}}},` + "\n" +
		`{"fullUrl":"urn:uuid:55","resource":{"resourceType":"Patient"}},` + "\n" +
		`{"fullUrl":"urn:uuid:44","resource":{"id":"d","resourceType":"Practitioner"}},` + "\n" +
		`{"request":{"method":"DELETE","url":"Patient/x"}}, 7, {"resource":"x"}, {"resource":{"resourceType":"Bundle"}},` + "\n" +
		`{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:99"}},"x":tru},` + "\n" +
		`{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:99"}}},` + "\n" +
		`{"fullUrl":"http://x/Patient/q","resource":{"resourceType":"Patient"}},` + "\n" +
		`{"fullUrl":"http://x/odd","resource":{"resourceType":"Patient","id":"odd"}},` + "\n" +
		`{"resource":{"resourceType":"Observation","subject":{"reference":"http://x/odd"}}}` + "\n" +
		`], "resourceType":"Bundle", "type":"transaction" }` + "\n"
	f := file(t, "x.json", text, FileRule{Format: FHIRJSON})
	for _, size := range []int{1, 300, 5000} {
		got, err := records(t, f, limits{size, 1000, 10000})
		expect(t, got, err,
			"4/1 Observation/o1 of p on no date in e by Practitioner/d",
			"7/2 Patient/p of p on no date",
			"8/3 Encounter/e of 55 on no date in e",
			"9/4 Patient/55 of 55 on no date",
			"10/5 Practitioner/d of  on no date",
			"11/7 (unreadable)/ of  on no date REJECT schema",
			"11/8 (unreadable)/ of  on no date REJECT schema",
			"11/9 Bundle/ of  on no date REJECT schema",
			"12/10 (unreadable)/ of  on no date REJECT malformed",
			"13/11 Observation/ of  on no date REJECT no-subject",
			"14/12 Patient/q of q on no date",
			"15/13 Patient/odd of odd on no date",
			"16/14 Observation/ of odd on no date")
	}
}

func TestBundleFrame(t *testing.T) {
	patient := `{"resource":{"resourceType":"Patient","id":"p"}}`
	bundle := func(entries string) string {
		return `{"resourceType":"Bundle","type":"batch","entry":[` + entries + `]}`
	}
	for _, c := range []struct{ text, want string }{
		{bundle(""), ""},
		{bundle(patient), "1/1 Patient/p of p on no date"},
		{`{"resourceType":"Bundle","type":"collection"}`, ""},
		{"\n\n" + `{"resourceType":"Patient","id":"p"}`, "3/0 Patient/p of p on no date"},
		{`{"resourceType":"List","subject":{"reference":"Patient/p"},"entry":[{"item":{"reference":"Observation/o"}}]}`, "1/0 List/ of p on no date"},
		// one record for a frame that cannot be used
		{"", "1/0 (unreadable)/ of  on no date REJECT malformed"},
		{"[]", "1/0 (unreadable)/ of  on no date REJECT malformed"},
		{"\n" + strings.TrimSuffix(bundle(patient), "}"), "2/0 Bundle/ of  on no date REJECT malformed"},
		{bundle(patient) + "}", "1/0 Bundle/ of  on no date REJECT malformed"},
		{bundle(patient + "," + patient + ","), "1/0 Bundle/ of  on no date REJECT malformed"},
		{bundle(patient + " " + patient), "1/0 Bundle/ of  on no date REJECT malformed"},
		{bundle(`{"resource":{`), "1/0 Bundle/ of  on no date REJECT malformed"},
		{`{"resourceType":"Bundle","type":"batch","entry":[],"entry":[]}`, "1/0 Bundle/ of  on no date REJECT malformed"},
		{`{"resourceType":"Bundle","type":"batch","entry":[` + patient + `],"entry":[]}`, "1/0 Bundle/ of  on no date REJECT malformed"},
		{`{"resourceType":"Bundle","type":"batch","link":[{"a":1,"a":2}]}`, "1/0 Bundle/ of  on no date REJECT malformed"},
		{`{"resourceType":"Bundle","entry":[` + patient + `]}`, "1/0 Bundle/ of  on no date REJECT schema"},
		{`{"resourceType":"Bundle","type":"message","entry":[` + patient + `]}`, "1/0 Bundle/ of  on no date REJECT schema"},
		{`{"type":"batch","entry":[` + patient + `]}`, "1/0 (unreadable)/ of  on no date REJECT schema"},
		{`{"resourceType":"Patient","id":"` + strings.Repeat("x", 400) + `"}`, "1/0 (unreadable)/ of  on no date REJECT too-large"},
		{bundle(patient + `,{"x":"` + strings.Repeat("x\\\"", 200) + `"},` + patient), "1/1 Patient/p of p on no date\n1/2 (unreadable)/ of  on no date REJECT too-large\n1/3 Patient/p of p on no date"},
		{bundle(strings.Repeat(patient+",", 50) + patient), "1/0 Bundle/ of  on no date REJECT too-large"},
	} {
		got, err := records(t, file(t, "x.json", c.text, FileRule{Format: FHIRJSON}), limits{64, 300, 2000})
		if err != nil {
			t.Fatal(err)
		}
		for i := range got {
			got[i] = strings.TrimSpace(got[i])
		}
		if all := strings.Join(got, "\n"); all != c.want {
			t.Errorf("%.100s\n got %s\nwant %s", c.text, all, c.want)
		}
	}
}

// Two entries under one fullUrl: a reference to it says neither.
func TestAmbiguousFullURL(t *testing.T) {
	entry := `{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","id":"%s"}},`
	text := `{"resourceType":"Bundle","type":"batch","entry":[` + fmt.Sprintf(entry, "a") + fmt.Sprintf(entry, "b") +
		`{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}}}]}`
	got, err := records(t, file(t, "x.json", text, FileRule{Format: FHIRJSON}), wide)
	expect(t, got, err, "1/1 Patient/a of a on no date", "1/2 Patient/b of b on no date", "1/3 Observation/ of  on no date REJECT no-subject")
}

// An id that is none is not that of the fullUrl: the record is rejected, and is
// nobody's; and what the fullUrl stands for cannot be told, nor where the id has
// escapes.
func TestIDThatIsNone(t *testing.T) {
	for id, shown := range map[string]string{`["a"]`: "Patient/ of  on no date REJECT schema", `7`: "Patient/ of  on no date REJECT schema", `"\u0061"`: "Patient/a of a on no date"} {
		text := `{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient","id":` + id + `}},` +
			`{"resource":{"resourceType":"Observation","subject":{"reference":"urn:uuid:1"}}}]}`
		got, err := records(t, file(t, "x.json", text, FileRule{Format: FHIRJSON}), wide)
		expect(t, got, err, "1/1 "+shown, "1/2 Observation/ of  on no date REJECT no-subject")
	}
}

// Whatever the bytes are, a Bundle is read without a panic, and the same
// whatever the size of its chunks.
func FuzzBundle(f *testing.F) {
	for _, s := range []string{
		`{"resourceType":"Bundle","type":"batch","entry":[{"fullUrl":"urn:uuid:1","resource":{"resourceType":"Patient"}},{"request":{}}]}`,
		`{"entry":[{"resource":{"resourceType":"Bundle"}}],"type":"collection","resourceType":"Bundle"}`,
		`{"resourceType":"List","entry":[1,2,]}`, `{"entry":[`, `{"a":1}}`, `"x"`, "{ }",
	} {
		f.Add([]byte(s), uint8(10))
	}
	f.Fuzz(func(t *testing.T, text []byte, size uint8) {
		read := func(chunk int) (out []string) {
			s, err := surveyOf(bytes.NewReader(text), limits{chunk, 500, 5000})
			if err != nil {
				t.Fatal(err)
			}
			cut, scanner, c, rec := s.cutter(bytes.NewReader(text)), NewScanner(), Chunk{file: &File{Rule: &FileRule{Format: FHIRJSON}}, limit: 500}, Record{}
			for {
				c.items = c.items[:0]
				if err := cut.next(&c); errors.Is(err, io.EOF) {
					return out
				} else if err != nil {
					t.Fatal(err)
				}
				for scanner.Reset(&c); scanner.Next(&rec); {
					out = append(out, fmt.Sprintf("%v %s", rec.Place, show(&rec)))
				}
			}
		}
		if a, b := read(int(size)), read(1<<20); !slices.Equal(a, b) {
			t.Fatalf("%q: %v and %v", text, a, b)
		}
	})
}
