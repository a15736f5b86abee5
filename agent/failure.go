package agent

import "github.com/posternhealth/postern/internal/failure"

// Failures are told by their class, which is the exit code of the command line.
type (
	Class   = failure.Class
	Failure = failure.Failure
)

const (
	Unexpected      = failure.Unexpected
	Usage           = failure.Usage
	Undelivered     = failure.Undelivered
	AnsweredNo      = failure.AnsweredNo
	Configuration   = failure.Configuration
	Locked          = failure.Locked
	KeyTrouble      = failure.KeyTrouble
	PolicyRefused   = failure.PolicyRefused
	DestinationDown = failure.DestinationDown
	Altered         = failure.Altered
	Unbalanced      = failure.Unbalanced
	StaleInput      = failure.StaleInput
	Interrupted     = failure.Interrupted
)

func fail(class Class, err error, remedy string, what string, args ...any) error {
	return failure.New(class, err, remedy, what, args...)
}

// ExitCode is the exit code that err leads to; 0 for nil.
func ExitCode(err error) int { return failure.ExitCode(err) }
