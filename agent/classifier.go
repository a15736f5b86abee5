package agent

import (
	"path/filepath"
	"time"

	"github.com/posternhealth/postern/consent"
	"github.com/posternhealth/postern/extract"
)

// classifierPart names the files of the classifier in a closure.
const classifierPart = "classifier "

// classifier reads what the clinic has declared about labels and session notes;
// nil when it has declared nothing.
func (c *Config) classifier(now time.Time) (*consent.Classifier, error) {
	if c.Classifier == "" {
		return nil, nil
	}
	declared, err := consent.LoadClassifier(c.Path(c.Classifier), extract.DayOf(now.In(c.Zone)))
	if err != nil {
		return nil, fail(Configuration, err, "", "classifier")
	}
	return declared, nil
}

// classifier adds what says which records are sensitive.
func (c *Closure) classifier(config *Config, declared *consent.Classifier) {
	if declared == nil {
		return
	}
	for _, f := range declared.Files() {
		name, err := filepath.Rel(config.Dir, f.Path)
		if err != nil { // on another drive
			name = f.Path
		}
		c.file(classifierPart+filepath.ToSlash(name), f.Path, f.SHA256)
	}
}
