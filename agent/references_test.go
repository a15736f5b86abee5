package agent_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/agent"
)

// referencesOf gives the references of a resource by the path that holds them,
// in their order. What is contained and what extensions hold has none that a
// policy can name.
func referencesOf(v any) map[string][]string {
	all := map[string][]string{}
	var walk func(path string, v any)
	walk = func(path string, v any) {
		switch v := v.(type) {
		case []any:
			for _, e := range v {
				walk(path, e)
			}
		case map[string]any:
			if ref, ok := v["reference"].(string); ok {
				all[path] = append(all[path], ref)
			}
			for name, e := range v {
				if name != "contained" && name != "extension" {
					walk(strings.TrimPrefix(path+"."+name, "."), e)
				}
			}
		}
	}
	walk("", v)
	return all
}

// pointsTo says by FHIR R4 §2.3.0 and Bundle §2.36.4.1 which record a reference
// names, as Type/id, "" when none.
func (w *walked) pointsTo(ref string) string {
	if name, ok := w.urls[ref]; ok {
		return name
	}
	ref, _, _ = strings.Cut(ref, "/_history/")
	parts := strings.Split(ref, "/")
	if strings.ContainsAny(ref, "?#") || strings.HasPrefix(ref, "urn:") || len(parts) < 2 {
		return ""
	}
	return strings.Join(parts[len(parts)-2:], "/")
}

// referencePolicy names ids and all references that a source has, in every type.
func referencePolicy(t testing.TB, all []*walked) string {
	t.Helper()
	fields := map[string]map[string]bool{}
	for _, w := range all {
		if w.broken != "" {
			continue
		}
		if fields[w.dataset] == nil {
			fields[w.dataset] = map[string]bool{"id": true}
		}
		for path := range referencesOf(w.members) {
			fields[w.dataset][path] = true
		}
	}
	release := "release:\n"
	for _, dataset := range slices.Sorted(maps.Keys(fields)) {
		release += "  " + dataset + ":\n    because: a test\n"
		if dataset == "Observation" || dataset == "Encounter" {
			release += "    only: {status: [final, amended, finished]}\n"
		}
		release += "    fields:\n"
		for _, path := range slices.Sorted(maps.Keys(fields[dataset])) {
			release += "      " + path + ": {do: keep}\n"
		}
	}
	return scorePolicy(t, "identified", "ndjson", release)
}

// referenced is what is known of the references of a drop.
type referenced struct{ kept, cut, own map[string]int } // by kind

// sameReferences holds every reference of a drop against the source: one that
// named a released record names it still, the patient whom a record is about is
// named whether there is a Patient or not, and no other is there.
func sameReferences(t *testing.T, parts [][]byte, all []*walked) referenced {
	t.Helper()
	source, received := map[string]*walked{}, map[string]map[string]any{}
	for _, w := range all {
		if source[w.dataset+"/"+w.id] == nil {
			source[w.dataset+"/"+w.id] = w
		}
	}
	for _, part := range parts {
		for row := range strings.Lines(string(part)) {
			var r map[string]any
			must(t, json.Unmarshal([]byte(row), &r))
			name := fmt.Sprint(r["resourceType"], "/", r["id"])
			if received[name] != nil || source[name] == nil {
				t.Errorf("%s is twice in the drop, or not in the source", name)
			}
			received[name] = r
		}
	}
	seen := referenced{map[string]int{}, map[string]int{}, map[string]int{}}
	for name, r := range received {
		if source[name] == nil {
			continue
		}
		w, want, got := source[name], map[string][]string{}, referencesOf(r)
		for path, refs := range referencesOf(w.members) {
			for _, ref := range refs {
				to, kind := w.pointsTo(ref), kindOfReference(ref)
				id, patient := strings.CutPrefix(to, "Patient/")
				switch {
				case received[to] != nil:
					seen.kept[kind]++
				case patient && slices.Contains(w.patients, id):
					seen.own[kind]++
				default:
					seen.cut[kind]++
					continue
				}
				want[path] = append(want[path], to)
			}
		}
		if !maps.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s (%s:%d) has %v, want %v", name, w.file, w.line, got, want)
		}
	}
	t.Logf("%d records; references kept %v, cut %v, to the record's patient who is not in the drop %v", len(received), seen.kept, seen.cut, seen.own)
	return seen
}

func kindOfReference(ref string) string {
	kind := "relative"
	switch {
	case strings.HasPrefix(ref, "#"):
		return "contained"
	case strings.HasPrefix(ref, "urn:"):
		return "urn"
	case strings.Contains(ref, "?"):
		return "conditional"
	case strings.HasPrefix(ref, "http"):
		kind = "absolute"
	}
	if strings.Contains(ref, "/_history/") {
		kind += " version"
	}
	return kind
}

// sendReferences runs an identified exchange of ids and references.
func sendReferences(t *testing.T, folder, ignore, files string) ([][]byte, []*walked) {
	t.Helper()
	all := walkFolder(t, folder, ignore)
	for _, w := range all { // urn:uuid references count for whom a record is about, too
		for _, refs := range referencesOf(w.members) {
			for _, ref := range refs {
				if id, ok := strings.CutPrefix(w.pointsTo(ref), "Patient/"); ok && !slices.Contains(w.patients, id) {
					w.patients = append(w.patients, id)
				}
			}
		}
	}
	_, registry := sharedRegistry(all)
	c := newSharedClinic(t, sharedSource(folder, ignore, files), map[string]string{"all": referencePolicy(t, all)}, registry)
	c.open(t, io.Discard)
	_, err := c.agent.Run(t.Context(), "all", agent.RunOptions{AsOf: sharedDay(t, "2027-06-30")})
	must(t, err)
	_, err = c.agent.Deliver(t.Context(), "all")
	must(t, err)
	parts, _ := c.receive(t, "e1")
	return parts, all
}

func TestReferencesOfSharedDataHold(t *testing.T) {
	for _, s := range []struct {
		name, ignore, files string
		kept                int
	}{
		{"surveys", "", sharedNDJSON, 3000},
		{"measures", "", sharedDeep, 500},
		{"clinic", "", sharedNDJSON, 20000},
		{"bulk-export", "log.ndjson", sharedNDJSON, 10000},
		{"bundles", "", sharedJSON, 500},
	} {
		t.Run(s.name, func(t *testing.T) {
			parts, all := sendReferences(t, sharedFolder(t, s.name), s.ignore, s.files)
			kept := 0
			for _, n := range sameReferences(t, parts, all).kept {
				kept += n
			}
			if kept < s.kept {
				t.Errorf("%d references kept, want %d at least", kept, s.kept)
			}
		})
	}
}

// referenceWorld invents records that refer to each other in every way FHIR
// has, over several files and Bundles: in circles, to themselves, to records
// that are withheld, out of scope, in conflict, twice there, or nowhere.
type referenceWorld struct {
	random *rand.Rand
	names  []string // Type/id of all
}

func (g *referenceWorld) pick(types ...string) string {
	for {
		name := g.names[g.random.IntN(len(g.names))]
		if slices.ContainsFunc(types, func(typ string) bool { return strings.HasPrefix(name, typ+"/") }) {
			return name
		}
	}
}

// reference is one of any kind. A tilde stands for a slash that JSON escapes.
func (g *referenceWorld) reference(types ...string) map[string]any {
	to := g.pick(types...)
	switch g.random.IntN(14) {
	case 0:
		return map[string]any{"reference": "https://ehr.example/fhir/" + to}
	case 1:
		return map[string]any{"reference": to + "/_history/3"}
	case 2:
		return map[string]any{"reference": "http://ehr.example/" + to + "/_history/1", "type": types[0]}
	case 3:
		return map[string]any{"reference": strings.Replace(to, "/", "~", 1)}
	case 4:
		return map[string]any{"reference": "#c1"}
	case 5:
		return map[string]any{"reference": types[0] + "?identifier=http://x.example|17", "display": "Somebody"}
	case 6:
		return map[string]any{"identifier": map[string]any{"system": "http://x.example", "value": "17"}}
	case 7:
		return map[string]any{"display": "Somebody"}
	case 8:
		return map[string]any{"reference": types[0] + "/nowhere"}
	case 9:
		return map[string]any{"reference": "urn:uuid:00000000-0000-4000-8000-000000000000", "type": types[0]}
	}
	return map[string]any{"reference": to, "display": "Somebody"}
}

func (g *referenceWorld) several(types ...string) (list []any) {
	for range 1 + g.random.IntN(3) {
		list = append(list, g.reference(types...))
	}
	return list
}

// record invents one; the patient stands in it plainly, so that it is decided.
func (g *referenceWorld) record(name string) map[string]any {
	typ, id, _ := strings.Cut(name, "/")
	r := map[string]any{"resourceType": typ, "id": id, "contained": []any{map[string]any{"resourceType": "Organization", "id": "c1", "partOf": map[string]any{"reference": "Organization/o1"}}}}
	subject := map[string]any{"reference": g.pick("Patient")}
	switch typ {
	case "Patient":
		r["managingOrganization"], r["generalPractitioner"] = g.reference("Organization"), g.several("Organization")
	case "Organization":
		r["partOf"] = g.reference("Organization")
	case "Encounter":
		r["subject"], r["partOf"], r["serviceProvider"] = subject, g.reference("Encounter"), g.reference("Organization")
		r["status"] = []string{"finished", "planned"}[g.random.IntN(6)/5]
		r["location"] = []any{map[string]any{"location": g.reference("Location")}, map[string]any{"location": g.reference("Location")}}
	case "Location":
		r["managingOrganization"], r["partOf"] = g.reference("Organization"), g.reference("Location")
	case "Procedure":
		r["subject"], r["encounter"], r["partOf"], r["reasonReference"] = subject, g.reference("Encounter"), g.several("Procedure", "Observation"), g.several("Observation")
	case "Observation":
		r["subject"], r["encounter"] = subject, g.reference("Encounter")
		r["status"] = []string{"final", "preliminary"}[g.random.IntN(6)/5]
		r["focus"], r["performer"] = g.several("Encounter", "Procedure", "Observation", "Patient", "Organization"), g.several("Organization")
		if g.random.IntN(4) == 0 {
			r["hasMember"] = g.several("Observation")
		}
		if g.random.IntN(8) == 0 {
			r["focus"] = []any{map[string]any{"reference": name}}
		}
	}
	return r
}

// write lays the world out below a folder.
func (g *referenceWorld) write(t testing.TB, folder string) {
	t.Helper()
	for typ, n := range map[string]int{"Patient": 30, "Organization": 30, "Location": 12, "Encounter": 80, "Procedure": 40, "Observation": 300} {
		for i := range n {
			g.names = append(g.names, fmt.Sprintf("%s/%s%d", typ, strings.ToLower(typ[:1]), i+1))
		}
	}
	slices.Sort(g.names)
	files, entries := map[string][]byte{}, map[string][]any{}
	for i, name := range g.names {
		r := g.record(name)
		if i%5 == 4 {
			bundle := fmt.Sprintf("bundle-%d.json", g.random.IntN(2))
			entries[bundle] = append(entries[bundle], r)
			continue
		}
		line, err := json.Marshal(r)
		must(t, err)
		line = append(bytes.ReplaceAll(line, []byte("~"), []byte(`\/`)), '\n')
		file := fmt.Sprintf("%d.ndjson", g.random.IntN(3))
		files[file] = append(files[file], line...)
		switch g.random.IntN(12) {
		case 0: // twice
			files["again.ndjson"] = append(files["again.ndjson"], line...)
		case 1: // with other content
			files["again.ndjson"] = append(files["again.ndjson"], bytes.Replace(line, []byte(`{"contained"`), []byte(`{"language":"en","contained"`), 1)...)
		}
	}
	for file, list := range entries {
		files[file] = g.bundle(t, list, file == "bundle-0.json")
	}
	for name, text := range files {
		path := filepath.Join(folder, name)
		must(t, os.WriteFile(path, text, 0o600))
		must(t, os.Chtimes(path, time.Now(), time.Now().Add(-time.Hour)))
	}
}

// bundle makes a transaction, whose entries refer to each other by urn:uuid and
// partly have no id of their own, or a collection by absolute URLs.
func (g *referenceWorld) bundle(t testing.TB, list []any, transaction bool) []byte {
	t.Helper()
	urls := map[string]string{}
	for i, e := range list {
		r := e.(map[string]any)
		name := fmt.Sprint(r["resourceType"], "/", r["id"])
		urls[name] = "https://ehr.example/fhir/" + name
		if transaction {
			urls[name] = fmt.Sprintf("urn:uuid:a0000000-0000-4000-8000-%012d", i)
		}
	}
	var entries []any
	for i, e := range list {
		r := e.(map[string]any)
		name := fmt.Sprint(r["resourceType"], "/", r["id"])
		g.turn(r, urls)
		if transaction && i%3 == 0 {
			delete(r, "id")
		}
		entries = append(entries, map[string]any{"fullUrl": urls[name], "resource": r})
	}
	text, err := json.Marshal(map[string]any{"resourceType": "Bundle", "type": map[bool]string{true: "transaction", false: "collection"}[transaction], "entry": entries})
	must(t, err)
	return bytes.ReplaceAll(text, []byte("~"), []byte(`\/`))
}

// turn writes references within a Bundle by its full URLs.
func (g *referenceWorld) turn(v any, urls map[string]string) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			g.turn(e, urls)
		}
	case map[string]any:
		if ref, ok := v["reference"].(string); ok && urls[ref] != "" {
			v["reference"] = urls[ref]
		}
		for _, e := range v {
			g.turn(e, urls)
		}
	}
}

func TestReferencesOfAnInventedWorldHold(t *testing.T) {
	for seed := range uint64(3) {
		folder := t.TempDir()
		g := &referenceWorld{random: rand.New(rand.NewPCG(seed, 7))}
		g.write(t, folder)
		parts, all := sendReferences(t, folder, "", sharedNDJSON+"\n"+sharedJSON)
		seen := sameReferences(t, parts, all)
		for _, kind := range []string{"relative", "absolute", "relative version", "absolute version", "urn"} {
			if seen.kept[kind] == 0 || seen.cut[kind] == 0 {
				t.Errorf("of kind %s %d references were kept and %d cut: nothing is shown", kind, seen.kept[kind], seen.cut[kind])
			}
		}
		if seen.kept["contained"]+seen.kept["conditional"] > 0 || seen.cut["contained"] == 0 || seen.cut["conditional"] == 0 {
			t.Errorf("contained and conditional references: kept %v, cut %v", seen.kept, seen.cut)
		}
	}
}
