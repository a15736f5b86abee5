package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/posternhealth/postern/internal/durable"
	"github.com/posternhealth/postern/transfer"
)

// planDir is the scratch folder of a dry run of this process. Its name says
// whose it is, because dry runs hold no lease.
func (a *Agent) planDir(exchangeID string) string {
	return filepath.Join(a.scratchDir(), fmt.Sprintf("%s-plan-%d-%d", exchangeID, os.Getpid(), time.Now().UnixNano()))
}

// sweepPlans removes the scratch folders of dry runs whose process is gone.
func (a *Agent) sweepPlans(exchangeID string) error {
	found, err := filepath.Glob(filepath.Join(a.scratchDir(), exchangeID+"-plan-*"))
	for _, path := range found {
		var pid int
		var at int64
		if _, e := fmt.Sscanf(filepath.Base(path)[len(exchangeID):], "-plan-%d-%d", &pid, &at); e == nil && !processAlive(pid) {
			err = errors.Join(err, durable.RemoveAll(path))
		}
	}
	return err
}

// sweepSettled removes what an agent that died between the end of a delivery
// and its tidying left: decision indexes, whose keys are gone already, and the
// sealed files of voided drops. The caller holds the lease of the delivery.
func (a *Agent) sweepSettled(ctx context.Context, exchange string) error {
	var dir, state, text string
	return each(ctx, a.db, row{&dir, &state, &text}, func() error {
		dir = filepath.Join(a.dropsDir(), dir)
		left, err := filepath.Glob(filepath.Join(dir, transfer.PrivateFolder, "*.decision-index.*"))
		for _, path := range left {
			err = errors.Join(err, durable.Remove(path))
		}
		var sealed []transfer.SealedFile
		if state == stateVoided && err == nil {
			if err = json.Unmarshal([]byte(text), &sealed); err == nil {
				err = removeSealed(transfer.Deliverables(dir, sealed))
			}
		}
		return err
	}, `SELECT dir, state, files FROM delivery WHERE exchange = ? AND state NOT IN (?, ?)`, exchange, stateSealed, stateUploading)
}
