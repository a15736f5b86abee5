package gate

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sharedData lists the files of a folder of published synthetic data.
func sharedData(t *testing.T, pattern string) []string {
	t.Helper()
	files, _ := filepath.Glob(filepath.Join("../../../shared/data", pattern))
	if len(files) == 0 {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("shared data is missing")
		}
		t.Skip("peer shared data is missing")
	}
	return files
}

func eachLine(t *testing.T, path string, do func([]byte)) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var r io.Reader = f
	if strings.HasSuffix(path, ".gz") {
		if r, err = gzip.NewReader(f); err != nil {
			t.Fatal(err)
		}
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<24)
	for lines.Scan() {
		do(lines.Bytes())
	}
}

// found collects every string below a member of one of these names.
func found(v any, names string, add func(member, value string)) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			if s, ok := inner.(string); ok && strings.Contains(names, " "+name+" ") {
				add(name, s)
			} else if list, ok := inner.([]any); ok && strings.Contains(names, " "+name+" ") {
				for _, item := range list {
					if s, ok := item.(string); ok {
						add(name, s)
					}
				}
			}
			found(inner, names, add)
		}
	case []any:
		for _, inner := range v {
			found(inner, names, add)
		}
	}
}

// Among the people of a real-looking population no code, code system's id or
// record id of other clinics raises an alarm, and each of their own
// identifiers does, wherever it stands in a sentence.
func TestPopulation(t *testing.T) {
	r := NewRoster(1144)
	type secret struct{ member, value string }
	var secrets []secret
	subject := uint32(0)
	kinds := map[string]Kind{"family": Name, "given": Name, "line": StreetAddress, "value": RecordNumber, "birthDate": BirthDate}
	for _, file := range sharedData(t, "population/Patient*") {
		eachLine(t, file, func(line []byte) {
			var patient any
			if json.Unmarshal(line, &patient) != nil {
				return
			}
			subject++
			found(patient, " family given line value birthDate ", func(member, value string) {
				_ = r.Add(subject, kinds[member], []byte(value))
				secrets = append(secrets, secret{member, value})
			})
		})
	}
	r.Freeze()
	g := newGate(t, Spec{Format: CSV, Positions: []Position{{"code", CodeToken()}, {"note", Any()}}}, r)
	for _, s := range secrets {
		if len(s.value) < shortestName {
			continue
		}
		if _, word := words[strings.ToLower(s.value)]; word {
			continue
		}
		if hit := g.Row([]byte(`final,"seen with `+s.value+` today"`), []uint32{1}); hit == nil {
			t.Errorf("a %s of %d bytes passed", s.member, len(s.value))
		}
	}
	codes := 0
	for _, pattern := range []string{"clinic/*", "surveys/*", "measures/*/*"} {
		for _, file := range sharedData(t, pattern) {
			eachLine(t, file, func(line []byte) {
				var resource any
				if json.Unmarshal(line, &resource) != nil {
					return
				}
				found(resource, " code id status ", func(member, value string) {
					codes++
					if strings.ContainsAny(value, " ") {
						return
					}
					if hit := g.Row([]byte(value+","), []uint32{1}); hit != nil {
						t.Errorf("%s in %s: a %s was stopped by %s", value, file, member, hit.Rule)
					}
				})
			})
		}
	}
	if codes < 10000 || len(secrets) < 5000 {
		t.Errorf("only %d codes and %d identifiers met", codes, len(secrets))
	}
}
