// Package failure is what a person is told when something could not be done: what,
// why, and what to do about it, with the exit code that scripts are promised.
// It never holds a value from a record. The list of codes is in the README.
package failure

import (
	"context"
	"errors"
	"fmt"
)

// Class sorts failures by what the caller must do. Its value is the exit code
// of the command line, which is a contract with scripts.
type Class int

const (
	Unexpected      Class = 1
	Usage           Class = 2
	Undelivered     Class = 3 // done, but a drop is voided, undelivered or overdue
	AnsweredNo      Class = 4 // the question was answered no
	Configuration   Class = 10
	Locked          Class = 11
	KeyTrouble      Class = 12 // key or host key
	PolicyRefused   Class = 13
	DestinationDown Class = 14
	Altered         Class = 15 // our own state or source was altered
	Unbalanced      Class = 16 // unbalanced, over tolerance, or quarantined by the gate
	StaleInput      Class = 17 // protective input stale, shrunken or unreadable
	Interrupted     Class = 130
)

// Failure is an error that a person is to act on: what could not be done,
// why, and what to do about it. It never holds a value from a record.
type Failure struct {
	Class  Class
	What   string
	Remedy string
	Err    error
}

func (f *Failure) Error() string {
	text := f.What
	if f.Err != nil {
		if text != "" {
			text += ": "
		}
		text += f.Err.Error()
	}
	if f.Remedy != "" {
		text += "; " + f.Remedy
	}
	return text
}

func (f *Failure) Unwrap() error { return f.Err }

// New makes a failure; err is its cause or nil, and remedy may be "".
func New(class Class, err error, remedy string, what string, args ...any) error {
	return &Failure{Class: class, What: fmt.Sprintf(what, args...), Remedy: remedy, Err: err}
}

// ExitCode is the exit code that err leads to; 0 for nil.
func ExitCode(err error) int {
	if err == nil {
		return 0
	}
	var f *Failure
	if errors.As(err, &f) {
		return int(f.Class)
	}
	if errors.Is(err, context.Canceled) {
		return int(Interrupted)
	}
	return int(Unexpected)
}
