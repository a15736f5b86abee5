package transfer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
)

// Destination is where drops go and receipts come from. It is for one
// delivery at a time. Callers must not take a nil error for more than the
// Evidence says.
type Destination interface {
	// Probe learns what the destination allows, by a file of its own that the
	// recipient ignores and that it removes, unless known is a plan of this very
	// server and folder. Deliver follows the plan; without one it probes first.
	Probe(ctx context.Context, known *Plan) (Plan, error)
	// Deliver uploads the files in their order, the last of them, `.done`,
	// only after all others stand under their final names. Files that are
	// there already are left alone, so a delivery is repeated until it ends.
	// log hears of every change of state; the first Uploading event comes
	// before the first byte of payload leaves.
	Deliver(ctx context.Context, files []File, log func(Event)) (Evidence, error)
	// Withdraw removes what an unfinished delivery left, and gives the names
	// removed. It refuses when `.done` is there: the recipient has the drop. Files
	// that the server does not let go are ErrKept; after another error try again.
	Withdraw(ctx context.Context, files []File) (removed []string, err error)
	// Gone tells whether none of the files, which had arrived, is there any more: who
	// receives them has taken them away. It is false where that cannot be seen.
	Gone(ctx context.Context, files []File) (bool, error)
	// Receipts downloads signed receipts that known does not claim into dir,
	// and gives their names. The signature lies beside each as NAME.sig.
	// ReceiptErrors tell of files that cannot be taken; the names count all the same.
	Receipts(ctx context.Context, dir string, known func(name string) bool) ([]string, error)
	// Responses opens the files that lie where receipts do and that want asks
	// for, from the oldest on. A file that is not as it was listed ends in a
	// ReceiptError. The error of take ends it.
	Responses(ctx context.Context, want func(fs.FileInfo) bool, take func(name string, from io.Reader) error) error
	// Obey sets the recipient's rules, before anything else is asked of it.
	Obey(Rules)
	Close() error
}

// File is a sealed file to deliver.
type File struct {
	Name   string
	Path   string
	SHA256 string
	Size   int64
	Reused bool // the name may be that of an earlier file, which may still be there
	Later  bool // it is not sent yet, but nothing is while an earlier file has its name
}

// Marker tells whether the file tells others of its kind only that they have
// arrived: no other is empty.
func (f *File) Marker() bool { return f.Size == 0 }

// Deliverables gives a sealed drop's files with their paths.
func Deliverables(dir string, sealed []SealedFile) []File {
	files := make([]File, len(sealed))
	for i, f := range sealed {
		files[i] = File{Name: f.Name, Path: filepath.Join(dir, f.Name), SHA256: f.SHA256, Size: f.Size}
	}
	return files
}

// State of a file, or of the whole delivery: as much as is known. They ascend.
type State int

const (
	Uploading State = iota
	Stored
	SizeVerified
	HashVerified
)

var stateNames = [...]string{"uploading", "stored", "size-verified", "hash-verified"}

func (s State) String() string { return stateNames[s] }

// MarshalText writes the state as a word.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (s *State) UnmarshalText(text []byte) error {
	at := slices.Index(stateNames[:], string(text))
	if at < 0 {
		return fmt.Errorf("unknown state %q", text)
	}
	*s = State(at)
	return nil
}

// Event tells of one file's change of state.
type Event struct {
	File    string
	State   State
	Size    int64
	Already bool // an earlier attempt had delivered it
}

// Evidence is what may be said about a finished delivery.
type Evidence struct {
	State State // the least of all files
	Plan  Plan
	Files []Event
}

// Kinds of failure, for exit codes: a destination that does not work (14), a
// host key that is not the pinned one, a login that is refused (12).
var (
	ErrDestination = errors.New("destination failed")
	ErrHostKey     = errors.New("host key is not the pinned one")
	ErrAuth        = errors.New("login was refused")
	ErrSealed      = errors.New("sealed file was altered") // our own state (15)
	ErrDelivered   = errors.New("the recipient has the whole drop: recall it instead")
	ErrKept        = errors.New("the server keeps files of an unfinished delivery")
)

// DestinationError says what was being done where, why it failed, and what to
// do. errors.Is finds its Kind and its cause.
type DestinationError struct {
	Kind   error
	Where  string
	Doing  string
	Cause  error
	Remedy string
}

func (e *DestinationError) Error() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s: %v", e.Where, e.Doing, e.Kind)
	if e.Cause != nil {
		fmt.Fprintf(&text, ": %v", e.Cause)
	}
	if e.Remedy != "" {
		fmt.Fprintf(&text, "; %s", e.Remedy)
	}
	return text.String()
}

func (e *DestinationError) Unwrap() []error {
	if e.Cause == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Cause}
}
