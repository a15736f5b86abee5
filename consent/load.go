package consent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"

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
			if in.SHA256 = digestOf(chunks.Sums()); in.Rows == 0 && len(files) > 0 { // an export that failed looks like this, too
				return in, &InputError{files[0].Path, 0, "holds no " + dataset}
			}
			return in, nil
		}
		if err != nil {
			return in, asInputError("", err)
		}
		for scanner.Reset(&chunk); scanner.Next(&rec); {
			if rec.Dataset == dataset {
				in.Rows++
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
