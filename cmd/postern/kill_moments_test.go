package main_test

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
)

// Where a kill found the clinic.
const (
	early     = "before its drop was begun"
	inDrop    = "in an uncommitted drop"
	committed = "with a committed drop, nothing of it sent"
	exposed   = "in the midst of an upload"
	delivered = "with a drop delivered"
	over      = "after the command had ended"
)

func entries(dir string) []string {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	var names []string
	for _, e := range list {
		names = append(names, filepath.Join(dir, e.Name()))
	}
	return names
}

func (k *killing) dropsDir() string { return filepath.Join(k.clinic, "state", "drops") }

// names is what lies in the folders that the moments are seen by.
func (k *killing) names(f flow) map[string]bool {
	there := map[string]bool{}
	for _, path := range append(entries(k.dropsDir()), entries(f.inbox())...) {
		there[path] = true
	}
	return there
}

// new lists what came into a folder since the command was started.
func (k *killing) new(dir string) (list []string) {
	for _, path := range entries(dir) {
		if !k.wasThere[path] {
			list = append(list, path)
		}
	}
	return list
}

func (k *killing) building(flow) bool { return len(k.new(k.dropsDir())) > 0 }

func (k *killing) sealed(flow) bool {
	for _, dir := range k.new(k.dropsDir()) {
		for _, path := range entries(dir) {
			if strings.HasSuffix(path, ".done") {
				return true
			}
		}
	}
	return false
}

func (k *killing) uploading(f flow) bool { return len(k.new(f.inbox())) > 0 }

func (k *killing) uploaded(f flow) bool {
	for _, path := range k.new(f.inbox()) {
		if strings.HasSuffix(path, ".done") {
			return true
		}
	}
	return false
}

// landing says where a kill found the clinic, by the state it left.
func (k *killing) landing(command string, f flow, before int64, p *process) string {
	switch {
	case p.ProcessState.Exited():
		return over
	case command != "run" && command != "serve":
		return "or the recipient in " + command
	}
	db := k.snapshot()
	defer db.Close()
	return k.found(db, f, before)
}

// found says where a run stands, by the state it has left so far.
func (k *killing) found(db *sql.DB, f flow, before int64) string {
	count := func(where string) (n int64) {
		k.ok(db.QueryRow(`SELECT count(*) FROM delivery WHERE exchange = ? AND number > ? `+where, f.exchange, before).Scan(&n))
		return n
	}
	switch {
	case count("") == 0:
		if len(k.new(k.dropsDir())) > 0 {
			return inDrop
		}
		return early
	case count(`AND state NOT IN ('sealed', 'uploading')`) > 0:
		return delivered
	case len(k.new(f.inbox())) > 0:
		return exposed
	}
	return committed
}
