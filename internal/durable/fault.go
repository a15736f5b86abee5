package durable

import (
	"path/filepath"
	"sync/atomic"
	"testing"
)

var fault atomic.Pointer[func(string) error]

// SetFault makes each step ask f first and afterwards: before the step with
// "OP NAME" (an error: failed, and nothing happened), after it with
// "after OP NAME" (an error: reported as failed, though it happened). OP is
// create, write, sync, close, rename, sync-dir, mkdir or remove, or what the
// caller of Step says; NAME is the last element of the path. It gives back the function that ends it. Outside
// a test binary it does nothing.
func SetFault(f func(step string) error) (restore func()) {
	if !testing.Testing() {
		return func() {}
	}
	before := fault.Swap(&f)
	return func() { fault.Store(before) }
}

// Step lets the faults reach a step that makes something durable and is not a
// file's: a database's commit.
func Step(op, path string, do func() error) error { return step(op, path, do) }

func step(op, path string, do func() error) error {
	f := fault.Load()
	if f == nil {
		return do()
	}
	name := op + " " + filepath.Base(path)
	if err := (*f)(name); err != nil {
		return err
	}
	if err := do(); err != nil {
		return err
	}
	return (*f)("after " + name)
}
