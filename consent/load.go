package consent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"slices"

	"github.com/posternhealth/postern/extract"
)

// LoadFHIRConsents takes in the Consents of NDJSON, JSON and Bundle files. A
// Consent that cannot be understood makes its patient indeterminate; one whose
// patient cannot be told, or a file that cannot be read to its end, is an
// *InputError.
func (d *Directives) LoadFHIRConsents(ctx context.Context, files []extract.File) (Input, error) {
	return readResources(ctx, files, "Consent", d.AddConsent)
}

// readResources gives every record of FHIR files to take, and counts the
// resources of one type.
func readResources(ctx context.Context, files []extract.File, dataset string, take func(file string, rec *extract.Record) error) (Input, error) {
	chunks, scanner := extract.OpenChunks(files), extract.NewScanner()
	defer chunks.Close()
	var in Input
	var chunk extract.Chunk
	var rec extract.Record
	for {
		err := errors.Join(ctx.Err(), chunks.Next(&chunk))
		if errors.Is(err, io.EOF) && ctx.Err() == nil {
			if in.sha256 = digestOf(chunks.Sums()); in.rows == 0 && len(files) > 0 { // an export that failed looks like this, too
				return in, &InputError{files[0].Path, 0, "holds no " + dataset}
			}
			return in, nil
		}
		if err != nil {
			return in, asInputError("", err)
		}
		for scanner.Reset(&chunk); scanner.Next(&rec); {
			if rec.Dataset == dataset {
				in.rows++
			}
			if err := take(chunk.File().Path, &rec); err != nil {
				return in, err
			}
		}
	}
}

// digestOf is one digest of several files.
func digestOf(sums []extract.FileSum) string {
	digest := sha256.New()
	for _, sum := range sums {
		_, _ = io.WriteString(digest, sum.SHA256+"  "+sum.Name+"\n")
	}
	return hex.EncodeToString(digest.Sum(nil))
}

// LoadRegistry takes in the rows of a consent registry (see readRegistry for
// its columns). A row that tells its patient and nothing else that can be
// understood is a doubt; any other defect is an *InputError.
func (d *Directives) LoadRegistry(path string) (Input, error) {
	in, err := withTable(path, registryRequired, registryOptional, func(t *extract.Table) (Input, error) {
		return d.readRegistry(path, t)
	})
	d.mending.files = append(d.mending.files, listFile{path, in.sha256})
	return in, err
}

// Load takes in one more list of restrictions. A row that tells its subject and
// nothing else that can be understood is a doubt; any other defect is an
// *InputError.
func (rs *Restrictions) Load(path string) (Input, error) {
	in, err := withTable(path, restrictionRequired, restrictionOptional, func(t *extract.Table) (Input, error) {
		return rs.read(path, t)
	})
	rs.mending.files = append(rs.mending.files, listFile{path, in.sha256})
	return in, err
}

// LoadRoster reads a roster; columns beyond its own are for look-ups. Any
// defect is an *InputError.
func LoadRoster(path string, people *People) (*Roster, error) {
	return loadRoster(path, rosterRequired, people)
}

// LoadAttribution reads a list of the patients who are attributed to the clinic,
// with patient, from and to; columns beyond these, member_id among them, are for
// look-ups. Any defect is an *InputError.
func LoadAttribution(path string, people *People) (*Roster, error) {
	return loadRoster(path, attributionRequired, people)
}

func loadRoster(path string, required []string, people *People) (*Roster, error) {
	return withTable(path, required, []string{"*"}, func(t *extract.Table) (*Roster, error) {
		lookups := slices.DeleteFunc(slices.Clone(t.Columns()), func(c string) bool { return slices.Contains(rosterRequired, c) || slices.Contains(required, c) })
		return readRoster(path, t, required, lookups, people)
	})
}

// Load takes in one more map of Part 2 programs. Any defect is an *InputError.
func (ps *Programs) Load(path string) (Input, error) {
	return withTable(path, programRequired, programOptional, func(t *extract.Table) (Input, error) {
		return ps.read(path, t)
	})
}

// withTable opens a table and closes it, whether or not it was read to its end.
func withTable[T any](path string, required, optional []string, read func(*extract.Table) (T, error)) (got T, err error) {
	t, err := extract.OpenTable(path, required, optional)
	if err != nil {
		return got, asInputError(path, err)
	}
	defer func() { err = errors.Join(err, t.Close()) }()
	return read(t)
}

// asInputError makes the defects that the reading of a file finds InputErrors.
func asInputError(path string, err error) error {
	var file *extract.FileError
	if !errors.As(err, &file) {
		return err
	}
	if path == "" {
		path = file.File
	}
	why := file.Reason
	if file.Err != nil {
		why += ": " + file.Err.Error()
	}
	return &InputError{path, int(file.Line), why}
}
