package extract

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Format is how a file of an extract is written.
type Format string

const (
	FHIRNDJSON Format = "fhir-ndjson" // one resource a line
	FHIRJSON   Format = "fhir-json"   // one resource, or one Bundle of them, a file
	Delimited  Format = "delimited"   // rows, described by a Schema
)

// FileRule says which files of a source are what.
type FileRule struct {
	Pattern string // path.Match on the slash path below the folder
	Format  Format
	Dataset string  // delimited: the dataset that the rows belong to
	Schema  *Schema // delimited
	Servers Servers // FHIR: the clinic's own
}

// File is one file of an extract.
type File struct {
	Index int    // in the list that Source.List gave
	Name  string // slash path below the source's folder
	Path  string // where it can be opened
	Rule  *FileRule
	Size  int64 // as stored

	// Unsummed: its bytes are not hashed and its FileSum is empty, for a
	// reader who has nothing to compare it with.
	Unsummed bool
}

// FileSum is the fingerprint of a file's stored bytes.
type FileSum struct {
	Name   string
	SHA256 string // hex
	Size   int64
}

// FileError is why a file as a whole cannot be used. It stops the run: what
// would be missing could not be accounted for.
type FileError struct {
	File   string // slash path below the source's folder
	Line   int64  // 0 when no line is to blame
	Reason string // what is wrong, and what to do; no value of the file
	Err    error  // the cause, nil when there is none
}

func (e *FileError) Error() string {
	var b strings.Builder
	b.WriteString(e.File)
	if e.Line > 0 {
		fmt.Fprintf(&b, ":%d", e.Line)
	}
	b.WriteString(": ")
	b.WriteString(e.Reason)
	if e.Err != nil {
		fmt.Fprintf(&b, ": %v", e.Err)
	}
	return b.String()
}

func (e *FileError) Unwrap() error { return e.Err }

// FileAt describes a single file that no Source lists, to be read by OpenChunks.
// What is no regular file has no size: -1.
func FileAt(path string, rule *FileRule) (File, error) {
	info, err := os.Stat(path)
	if err != nil {
		return File{}, err
	}
	size := info.Size()
	if !info.Mode().IsRegular() {
		size = -1 // a pipe ends when it ends
	}
	return File{Name: filepath.Base(path), Path: path, Rule: rule, Size: size}, nil
}
