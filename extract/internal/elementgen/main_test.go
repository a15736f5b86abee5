package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// definitions is the folder of HL7's definitions; the command's comment says
// how to get it.
func definitions(t *testing.T) string {
	t.Helper()
	folder := os.Getenv("FHIR_DEFINITIONS")
	if folder == "" {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer missing: FHIR definitions (set FHIR_DEFINITIONS)")
		}
		t.Skip("peer missing: FHIR definitions (set FHIR_DEFINITIONS)")
	}
	return folder
}

func TestTheCommittedTableIsWhatTheDefinitionsGive(t *testing.T) {
	folder := definitions(t)
	want, err := os.ReadFile("../../elements.txt")
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := generate(folder)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Fatal("extract/elements.txt differs from what the generator writes: run go generate ./extract")
		}
	}
}

func TestSearchedElements(t *testing.T) {
	search := []searchParameter{
		{Code: "patient", Base: []string{"AuditEvent"}, Expression: "AuditEvent.agent.who.where(resolve() is Patient) | AuditEvent.entity.what.where(resolve() is Patient)"},
		{Code: "patient", Base: []string{"Goal", "Flag"}, Expression: "Flag.subject | Goal.subject.where(resolve() is Patient)"},
	}
	for resource, want := range map[string][]string{"AuditEvent": {"agent.who", "entity.what"}, "Goal": {"subject"}, "Patient": nil} {
		got := searched(search, resource, "patient")
		if len(got) != len(want) {
			t.Fatalf("%s: %q, want %q", resource, got, want)
		}
		for i := range want {
			if got[i] != want[i] {
				t.Errorf("%s: %q, want %q", resource, got, want)
			}
		}
	}
}

// What the rules cannot place stops the generator rather than leaving a hole.
func TestGenerateRefuses(t *testing.T) {
	cases := map[string]string{
		"a primitive type without class":   `{"entry":[{"resource":{"resourceType":"StructureDefinition","id":"integer64","kind":"primitive-type","fhirVersion":"4.0.1"}}]}`,
		"a narrowed element that is gone":  `{"entry":[]}`,
		"a file that is no bundle of JSON": `<Bundle/>`,
	}
	for name, types := range cases {
		folder := t.TempDir()
		for file, content := range map[string]string{"profiles-types.json": types, "profiles-resources.json": `{"entry":[]}`} {
			if err := os.WriteFile(filepath.Join(folder, file), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := generate(folder); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
	if _, err := generate(t.TempDir()); err == nil {
		t.Error("an empty folder is accepted")
	}
}
