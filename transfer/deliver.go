package transfer

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/posternhealth/postern/internal/durable"
)

// store is what the upload sequence needs of a folder somewhere. Names are
// plain file names. An absent file is fs.ErrNotExist; what the server refuses
// to do is errRefused.
type store interface {
	where() string
	plan() *Plan
	list() ([]fs.FileInfo, error)
	size(name string) (int64, error)
	read(name string) (io.ReadCloser, error)
	// write makes a new file and closes it; after an error it removes what it
	// made, as far as it still can. again: in the place of one that is there.
	write(name string, from io.Reader, size int64, again bool) error
	// rename never overwrites.
	rename(from, to string) error
	remove(name string) error
	// tries are what a probe tries, in their order.
	tries(*trial) []try
	// alive tells whether the answers that came were the server's own.
	alive() error
	// explain adds what is known about a failure's cause.
	explain(doing string, err error) error
}

var (
	errRefused = errors.New("the server refuses to do this")
	errNothing = errors.New("deliver: a drop has at least its .done")
)

// deliverTo is the upload sequence. Each file goes up under a private name of
// this attempt and takes its final name when its size was seen to be right;
// until the last file has, the recipient takes no notice of the drop. A crash
// at any point is mended by calling it again.
func deliverTo(ctx context.Context, s store, files []File, log func(Event)) (Evidence, error) {
	if len(files) == 0 {
		return Evidence{}, errNothing
	}
	if s.plan().Probed.IsZero() {
		if _, err := probe(ctx, s); err != nil {
			return Evidence{}, err
		}
	}
	if last := files[len(files)-1]; !s.plan().renames() && (last.Marker() || !strings.HasSuffix(last.Name, doneSuffix)) {
		return Evidence{}, &DestinationError{Kind: ErrDestination, Where: s.where(), Doing: "deliver " + last.Name, Cause: errRefused,
			Remedy: "it renames nothing, and this drop has no .done, so the recipient could take a part of a file for all of it: ask the recipient to let the account rename"}
	}
	if slices.ContainsFunc(files, func(f File) bool { return f.Reused }) && !s.plan().showsSize() {
		return Evidence{}, &DestinationError{Kind: ErrDestination, Where: s.where(), Doing: "deliver " + files[0].Name, Cause: errRefused,
			Remedy: "its name was used before, and nobody can see here whether that file is still there: ask the recipient to let the account list its folder, or for names that are never used again"}
	}
	if err := noMarkers(s, files); err != nil {
		return Evidence{}, err
	}
	attempt := strings.ToLower(rand.Text()[:12])
	removeLeftovers(s, files)
	files = slices.DeleteFunc(slices.Clone(files), func(f File) bool { return f.Later })
	evidence := Evidence{State: HashVerified}
	for _, f := range files {
		if err := ctx.Err(); err != nil {
			return evidence, err
		}
		event, err := deliverFile(s, f, attempt, log)
		if err != nil {
			// The drop is not visible: `.done` is the last file.
			return evidence, err
		}
		log(event)
		evidence.Files = append(evidence.Files, event)
		evidence.State = min(evidence.State, event.State)
	}
	evidence.Plan = *s.plan()
	return evidence, nil
}

// noMarkers refuses to send files while a marker of earlier ones stands where theirs
// will: the recipient would take them by it, one after the other as they come.
func noMarkers(s store, files []File) error {
	for _, f := range files {
		if !f.Reused || !f.Marker() {
			continue
		}
		if _, err := s.size(f.Name); err == nil {
			return taken(s, f)
		} else if !errors.Is(err, fs.ErrNotExist) {
			return s.explain("look for "+f.Name, err)
		}
	}
	return nil
}

func deliverFile(s store, f File, attempt string, log func(Event)) (Event, error) {
	event := Event{File: f.Name, Size: f.Size}
	// An earlier attempt may have delivered it, even if the answer to its
	// rename was lost.
	state, err := inspect(s, f, f.Name)
	direct := !s.plan().renames()
	again := direct && (err == nil || errors.Is(err, errShort))
	switch {
	case err == nil && (state == HashVerified || state == SizeVerified && !f.Reused):
		event.State, event.Already = state, true
		return event, nil
	case errors.Is(err, errOther) && !again, err == nil && f.Reused:
		return event, taken(s, f)
	case err != nil && !again && !errors.Is(err, fs.ErrNotExist):
		return event, s.explain("look for "+f.Name, err)
	}
	log(event)
	if direct {
		event.State, err = deliverDirectly(s, f, again)
		return event, err
	}
	temporary := s.plan().Rules.temporary(f.Name + "." + attempt)
	if err := putUp(s, f, temporary, false); err != nil {
		return event, err
	}
	// A full server may acknowledge what it did not store.
	if event.State, err = inspect(s, f, temporary); err != nil {
		_ = s.remove(temporary)
		return event, s.explain("look at "+temporary+" after the upload", err)
	}
	if err := s.rename(temporary, f.Name); err != nil {
		return event, s.explain("rename "+temporary+" to "+f.Name, err)
	}
	return event, nil
}

// deliverDirectly writes a file under its final name, for a server that renames
// nothing. The name is this drop's alone and its content never changes, so what
// is there of it is a part that an earlier attempt left; a part is never as
// long as the whole, as the last packet goes up last.
func deliverDirectly(s store, f File, again bool) (State, error) {
	err := putUp(s, f, f.Name, again)
	if err == nil {
		var state State
		state, err = inspect(s, f, f.Name)
		switch {
		case err == nil:
			return state, nil
		case errors.Is(err, fs.ErrNotExist): // taken away as soon as it was closed
			return Stored, nil
		}
		_ = s.remove(f.Name)
		err = s.explain("look at "+f.Name+" after the upload", err)
	}
	return Uploading, fmt.Errorf("a part of %s may stand under its name, which without its .done is no drop: %w", f.Name, err)
}

var (
	errOther = errors.New("it is not the file that was sealed")
	errShort = fmt.Errorf("%w: only a part of it is there", errOther)
)

// inspect says what can be known of a file there: its size, and where reading
// is allowed, its SHA-256.
func inspect(s store, f File, as string) (State, error) {
	known := SizeVerified
	size, err := s.size(as)
	switch {
	case errors.Is(err, errRefused):
		known = Stored
	case err != nil:
		return 0, err
	case size < f.Size:
		return 0, fmt.Errorf("%w, %d of %d bytes", errShort, size, f.Size)
	case size > f.Size:
		return 0, fmt.Errorf("%w: it has %d bytes, not %d", errOther, size, f.Size)
	}
	if !s.plan().Allows(canRead) {
		return known, nil
	}
	sum, err := hashOf(s, as, f.Size)
	switch {
	case errors.Is(err, errRefused):
		return known, nil
	case err != nil:
		return 0, fmt.Errorf("read back: %w", err)
	case sum != f.SHA256:
		return 0, fmt.Errorf("%w: what came back has another SHA-256", errOther)
	}
	return HashVerified, nil
}

func taken(s store, f File) error {
	return &DestinationError{Kind: ErrDestination, Where: s.where(), Doing: "deliver " + f.Name,
		Cause: fs.ErrExist, Remedy: "another file has this name there; ask the recipient to move it away, then resend"}
}

// hashOf reads a delivered file back. A short answer is an error, not an end.
func hashOf(s store, name string, size int64) (string, error) {
	file, err := s.read(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	sum := sha256.New()
	n, err := io.CopyBuffer(sum, onlyReader{io.LimitReader(file, size+1)}, make([]byte, min(size+1, largestPacket)))
	switch {
	case err != nil:
	case n < size:
		err = fmt.Errorf("%w: %d of %d bytes came back", errShort, n, size)
	case n > size:
		err = fmt.Errorf("%w: it is longer than %d bytes", errOther, size)
	}
	return hex.EncodeToString(sum.Sum(nil)), err
}

// onlyReader hides WriteTo, which in pkg/sftp takes a short answer for the end.
type onlyReader struct{ io.Reader }

// putUp also proves that what it read is what was sealed.
func putUp(s store, f File, as string, again bool) error {
	file, err := os.Open(f.Path)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrSealed, err)
	}
	defer file.Close()
	sum := sha256.New()
	if err := s.write(as, io.TeeReader(io.LimitReader(file, f.Size+1), sum), f.Size, again); err != nil {
		return s.explain("upload "+f.Name, err)
	}
	if hex.EncodeToString(sum.Sum(nil)) != f.SHA256 {
		_ = s.remove(as)
		return fmt.Errorf("%s: %w since it was sealed: its SHA-256 is another; it was not delivered", f.Path, ErrSealed)
	}
	return nil
}

// removeLeftovers removes private names of earlier attempts on these files, and
// what probes left: a younger one may be another's that is at work. A server
// that does not list or remove keeps them; the recipient ignores them.
func removeLeftovers(s store, files []File) (removed []string) {
	p := s.plan()
	p.Left = slices.DeleteFunc(p.Left, func(name string) bool {
		err := s.remove(name)
		return err == nil || errors.Is(err, fs.ErrNotExist)
	})
	entries, err := s.list()
	if err != nil {
		return nil
	}
	for _, e := range entries {
		old := time.Since(e.ModTime())+time.Duration(p.Ahead)*time.Second > time.Hour
		if isLeftover(p.Rules, e.Name(), files, old) && s.remove(e.Name()) == nil {
			removed = append(removed, e.Name())
		}
	}
	return removed
}

func isLeftover(r Rules, name string, files []File, old bool) bool {
	stem, private := r.onItsWay(name)
	if !private {
		return false
	}
	if strings.HasPrefix(stem, probeName) {
		return old
	}
	stem = stem[:max(0, strings.LastIndexByte(stem, '.'))]
	return slices.ContainsFunc(files, func(f File) bool { return f.Name == stem })
}

// goneFrom asks in two ways: a folder that hides what lies in it, or is not there
// itself, tells of nothing that is gone.
func goneFrom(s store, files []File) (bool, error) {
	entries, err := s.list()
	if err != nil {
		return false, nil
	}
	for _, f := range files {
		listed := slices.ContainsFunc(entries, func(e fs.FileInfo) bool { return e.Name() == f.Name })
		if _, err := s.size(f.Name); listed || !errors.Is(err, fs.ErrNotExist) {
			return false, nil
		}
	}
	return len(files) > 0, s.alive()
}

func withdrawFrom(s store, files []File) (removed []string, err error) {
	if len(files) == 0 {
		return nil, errNothing
	}
	done := files[len(files)-1]
	// A part of it closes nothing: a server that renames nothing may have one.
	if done.Reused {
		if isOurs(s, done) {
			return nil, s.explain("withdraw, with "+done.Name+" in place", ErrDelivered)
		}
	} else if size, err := s.size(done.Name); !errors.Is(err, fs.ErrNotExist) && (err != nil || size >= done.Size) {
		if err == nil {
			err = ErrDelivered
		} else if errors.Is(err, errRefused) {
			err = fmt.Errorf("%w, and lets nobody look: %w", ErrKept, err)
		}
		return nil, s.explain("withdraw, with "+done.Name+" in place", err)
	}
	removed = removeLeftovers(s, files)
	for _, f := range slices.Backward(files) {
		if f.Reused && !isOurs(s, f) {
			continue
		}
		failed := s.remove(f.Name)
		switch {
		case failed == nil:
			removed = append(removed, f.Name)
		case errors.Is(failed, fs.ErrNotExist):
		case s.alive() != nil:
			return removed, s.explain("withdraw "+f.Name, failed)
		default:
			err = s.explain("withdraw "+f.Name, fmt.Errorf("%w: %w", ErrKept, failed))
		}
	}
	return removed, err
}

// isOurs is true of a file that was read and is the one that was sealed; never of
// a marker, as all are alike.
func isOurs(s store, f File) bool {
	state, err := inspect(s, f, f.Name)
	return err == nil && state == HashVerified && !f.Marker()
}

// fetchReceipts takes those that have a signature beside them. Names come from
// the server, so only names of receipts are taken. One that cannot be taken
// keeps back none of the others; it is in ReceiptErrors, beside their names.
func fetchReceipts(ctx context.Context, s store, dir string, known func(string) bool) ([]string, error) {
	entries, err := s.list()
	if err != nil {
		return nil, s.explain("list receipts", err)
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int { return strings.Compare(a.Name(), b.Name()) })
	files := make(map[string]fs.FileInfo, len(entries))
	for _, e := range entries {
		if e.Mode().IsRegular() {
			files[e.Name()] = e
		}
	}
	var fetched []string
	var wrong ReceiptErrors
	for _, e := range entries {
		name := e.Name()
		if _, signed := files[name+".sig"]; !signed || !isReceiptName(name) || known(name) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return fetched, err
		}
		err := fetch(s, files[name+".sig"], dir)
		if err == nil {
			err = fetch(s, e, dir)
		}
		var one *ReceiptError
		switch {
		case err == nil:
			fetched = append(fetched, name)
		case errors.As(err, &one):
			wrong = append(wrong, one)
		default:
			return fetched, s.explain("download "+name, err)
		}
	}
	if len(wrong) > 0 {
		return fetched, wrong
	}
	return fetched, nil
}

// ReceiptError tells of a file in the folder of receipts that cannot be taken.
type ReceiptError struct {
	Name, Why string
	Written   time.Time // as the server lists it
	Cut       bool      // it ends in the middle: it may still be written
}

func (e *ReceiptError) Error() string { return e.Name + ": " + e.Why }

// ReceiptErrors tell of several.
type ReceiptErrors []*ReceiptError

func (list ReceiptErrors) Error() string { return fmt.Sprint([]*ReceiptError(list)) }

func fetch(s store, e fs.FileInfo, dir string) error {
	name := e.Name()
	if e.Size() > maxSmall {
		return &ReceiptError{Name: name, Why: fmt.Sprintf("it is longer than %d bytes, so it is no receipt", maxSmall)}
	}
	var text []byte
	err := read(s, e, func(_ string, from io.Reader) (err error) {
		text, err = io.ReadAll(from)
		return err
	})
	if err != nil {
		return err
	}
	whole := json.Valid(text)
	if strings.HasSuffix(name, ".sig") {
		whole = bytes.HasSuffix(bytes.TrimSpace(text), bytes.TrimSpace(endOfSignature))
	}
	if !whole {
		return &ReceiptError{name, "it does not end as it should: it is being written, or was cut short", e.ModTime(), true}
	}
	return durable.ReplaceFile(filepath.Join(dir, name), text, 0o600)
}

// openResponses goes through the files of a folder from the oldest on.
func openResponses(ctx context.Context, s store, want func(fs.FileInfo) bool, take func(string, io.Reader) error) error {
	entries, err := s.list()
	if err != nil {
		return s.explain("list responses", err)
	}
	slices.SortFunc(entries, func(a, b fs.FileInfo) int {
		return cmp.Or(a.ModTime().Compare(b.ModTime()), strings.Compare(a.Name(), b.Name()))
	})
	for _, e := range entries {
		if !e.Mode().IsRegular() || strings.ContainsAny(e.Name(), `/\`) || !want(e) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := read(s, e, take); err != nil {
			return s.explain("download "+e.Name(), err)
		}
	}
	return nil
}

// read gives a file as it was listed. One that was taken away since, or that its
// writer has locked, may come again.
func read(s store, e fs.FileInfo, take func(string, io.Reader) error) error {
	file, err := s.read(e.Name())
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) {
		return take(e.Name(), unopened{&ReceiptError{e.Name(), "it cannot be opened: " + err.Error(), e.ModTime(), true}})
	} else if err != nil {
		return err
	}
	defer file.Close() // it was only read
	return take(e.Name(), &exactly{Reader: file, file: e})
}

type unopened struct{ error }

func (u unopened) Read([]byte) (int, error) { return 0, u.error }

// exactly gives a ReceiptError in place of the end when the file is not as long as
// it was listed: it is being written, or cut short on its way.
type exactly struct {
	io.Reader
	file fs.FileInfo
	came int64
}

func (r *exactly) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if r.came += int64(n); r.came > r.file.Size() || r.came < r.file.Size() && errors.Is(err, io.EOF) {
		why := fmt.Sprintf("%d bytes came of %d that are listed: it is being written, or was cut short", r.came, r.file.Size())
		return n, &ReceiptError{r.file.Name(), why, r.file.ModTime(), true}
	}
	return n, err
}
