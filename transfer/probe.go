package transfer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/pkg/sftp"
)

// Plan is how a destination is used: what it allows, found out once by a probe
// and kept as evidence.
type Plan struct {
	Where      string    `json:"where"`              // account and folder that were probed
	Server     string    `json:"server"`             // its identification, or "folder"
	HostKey    string    `json:"host_key,omitempty"` // fingerprint, of SFTP
	Probed     time.Time `json:"probed"`             // zero: not yet, so that everything is tried
	PacketSize int       `json:"packet_size"`        // bytes of a write, of SFTP
	Ahead      int64     `json:"seconds_ahead"`      // of the server's clock before ours
	Abilities  []Ability `json:"abilities"`
	Left       []string  `json:"left,omitempty"` // names that the probe made and could not remove
	Rules      Rules     `json:"rules"`          // of the recipient, under which it was probed
}

// Ability is one thing that a destination lets us do, or does not.
type Ability struct {
	Name    string `json:"name"`
	Allowed bool   `json:"allowed"`
	Why     string `json:"why,omitempty"` // what the server said of one that is not allowed
}

// What is probed. The names are those of SFTP's requests and extensions
// (draft-ietf-secsh-filexfer-02, OpenSSH's PROTOCOL §4), where there is one.
const (
	canWrite       = "write"
	canFsync       = "fsync"
	canList        = "list"
	canLstat       = "lstat"
	canStat        = "stat"
	canRead        = "read"
	canSetstat     = "setstat"
	canOverwrite   = "overwrite"
	canRename      = "rename"
	canPosixRename = "posix-rename"
	canMkdir       = "mkdir"
	canLimits      = "limits"
	canSpace       = "space"
	canCheckFile   = "check-file"
	canRemove      = "remove"
)

// consequences say what it means that something is not allowed, and what to do.
// Of what has none, nothing depends on it.
var consequences = map[string]string{
	canWrite:     "nothing can be delivered: ask the recipient to let the account make files in its folder",
	canFsync:     "what is stored may be lost if the server's power fails: wait for the receipt",
	canList:      "receipts cannot be fetched, and what a broken-off delivery leaves stays: ask the recipient to let the account list its folders",
	canRead:      "what was delivered cannot be read back: ask the recipient to let the account read what it has uploaded, or wait for the receipt",
	canOverwrite: "a file that broke off cannot be written again over itself",
	canRename:    "names are given by posix-rename, which replaces what has the name",
	canRemove:    "what a broken-off delivery leaves stays, and nothing can be withdrawn: ask the recipient to let the account remove its files",
	canSpace:     "a full disk there is noticed only by a failed upload",
}

// Allows says whether a thing is tried: what was never probed is.
func (p *Plan) Allows(name string) bool {
	for _, a := range p.Abilities {
		if a.Name == name {
			return a.Allowed
		}
	}
	return p.Probed.IsZero()
}

func (p *Plan) note(name string, err error) {
	a := Ability{Name: name, Allowed: err == nil}
	if err != nil {
		a.Why = answerOf(err)
	}
	if i := slices.IndexFunc(p.Abilities, func(a Ability) bool { return a.Name == name }); i >= 0 {
		p.Abilities[i] = a
		return
	}
	p.Abilities = append(p.Abilities, a)
}

// answerOf is what a server said, without names of files.
func answerOf(err error) string {
	var status *sftp.StatusError
	switch {
	case errors.Is(err, fs.ErrPermission):
		return "permission denied"
	case errors.Is(err, fs.ErrNotExist):
		return "the file was gone"
	case errors.As(err, &status) && status.FxCode() == sftp.ErrSSHFxOpUnsupported, errors.Is(err, errors.ErrUnsupported):
		return "not supported"
	case errors.As(err, &status):
		return "failed"
	}
	return err.Error()
}

// renames is false where a file can only be written under its final name. The
// recipient may then see a part of it, and `.done` alone says that a drop is
// whole: see docs/destinations.md.
func (p *Plan) renames() bool { return p.Allows(canRename) || p.Allows(canPosixRename) }

func (p *Plan) showsSize() bool { return p.Allows(canLstat) || p.Allows(canStat) || p.Allows(canList) }

// Method says in a sentence how drops are delivered by the plan.
func (p *Plan) Method() string {
	how := "each file goes up under a private name, takes its own when it is whole"
	if !p.renames() {
		how = "each file goes up under its own name, because the server renames nothing; the drop is whole with its .done"
	}
	return how + ", and is " + p.Best().String()
}

// Best is the state that a delivery can reach by the plan.
func (p *Plan) Best() State {
	switch {
	case p.Allows(canRead):
		return HashVerified
	case p.showsSize():
		return SizeVerified
	}
	return Stored
}

// Advice says what is wrong or weak at a destination, and what to do.
func (p *Plan) Advice() (advice []string) {
	for _, a := range p.Abilities {
		because := consequences[a.Name]
		switch {
		case a.Allowed || because == "", a.Name == canOverwrite && p.renames(), a.Name == canRead && p.Rules.NoReadBack:
			continue
		case a.Name == canRename && !p.renames():
			because = "a file that breaks off stands under its own name until it is delivered again: ask the recipient to let the account rename"
		}
		advice = append(advice, a.Name+": "+because)
	}
	if p.Best() == Stored {
		advice = append(advice, "nothing that was delivered can be seen: its state stays stored; wait for the receipt")
	}
	if len(p.Left) > 0 {
		advice = append(advice, "the probe could not remove "+strings.Join(p.Left, ", ")+": ask the recipient to")
	}
	return advice
}

// is says whether a plan was made of the very server and folder that now is
// connected to.
func (p *Plan) is(now Plan) bool {
	return !p.Probed.IsZero() && p.Where == now.Where && p.Server == now.Server && p.HostKey == now.HostKey && p.Rules == now.Rules
}

// follow takes a plan that is known, if it is of this server; of another one it
// takes only what is still to be removed.
func (p *Plan) follow(known *Plan) bool {
	if known == nil || known.Where != p.Where {
		return false
	}
	if !known.is(*p) {
		p.Left = slices.Clone(known.Left)
		return false
	}
	*p = *known
	p.Abilities, p.Left = slices.Clone(known.Abilities), slices.Clone(known.Left) // both are kept up to date
	return true
}

// Names of a probe's files are like those of files on their way, so a recipient
// ignores them.
const (
	probeName = "postern-probe."
	probeText = "Postern tries what this server allows. This file holds no data and may be removed.\n"
)

// trial is a file that abilities are tried on; a rename swaps its two names.
type trial struct{ name, other string }

func (t *trial) renamed(err error) error {
	if err == nil {
		t.name, t.other = t.other, t.name
	}
	return err
}

// try is one ability, and what finds out whether it is there.
type try struct {
	ability string
	do      func() error
}

// probe tries on a file of its own what the server allows, and removes it.
// Nothing else in the folder is touched. After an error nothing is known: the
// line broke, or not even a file can be made.
func probe(ctx context.Context, s store) (Plan, error) {
	p := s.plan()
	*p = Plan{Where: p.Where, Server: p.Server, HostKey: p.HostKey, PacketSize: p.PacketSize, Left: p.Left, Rules: p.Rules}
	id := probeName + strings.ToLower(rand.Text()[:12])
	t := &trial{name: p.Rules.temporary(id), other: p.Rules.temporary(id + ".renamed")}
	p.note(canWrite, nil)
	if err := s.write(t.name, strings.NewReader(probeText), int64(len(probeText)), false); err != nil {
		return *p, s.explain("make a file to learn what is allowed", err)
	}
	for _, try := range s.tries(t) {
		err := errNotAsked
		if try.ability != canRead || !p.Rules.NoReadBack {
			err = try.do()
		}
		p.note(try.ability, err)
	}
	err := s.remove(t.name)
	p.note(canRemove, err)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.Left = append(p.Left, t.name)
	}
	if err := s.alive(); err != nil {
		return *p, s.explain("learn what is allowed", err)
	}
	if ctx.Err() != nil {
		return *p, s.explain("learn what is allowed", ctx.Err())
	}
	p.Probed = time.Now().UTC()
	return *p, nil
}

// listed finds one name in the folder.
func listed(s store, name string) (fs.FileInfo, error) {
	entries, err := s.list()
	if err != nil {
		return nil, err
	}
	at := slices.IndexFunc(entries, func(e fs.FileInfo) bool { return e.Name() == name })
	if at < 0 {
		return nil, fs.ErrNotExist
	}
	return entries[at], nil
}

// readsBack finds out whether reading is allowed, gives what was written, and
// leaves the file there.
func readsBack(s store, t *trial) error {
	sum, err := hashOf(s, t.name, int64(len(probeText)))
	if err == nil && sum != sumOf([]byte(probeText)) {
		err = errOther
	}
	if err != nil {
		return err
	}
	if _, err := s.size(t.name); errors.Is(err, fs.ErrNotExist) {
		return errors.New("what is read is taken away")
	}
	return nil
}

// errNotAsked stands for what the recipient does not want.
var errNotAsked = errors.New("not tried: read_back is no")

func mustShow(info fs.FileInfo, err error) error {
	if err == nil && info.Size() != int64(len(probeText)) {
		err = fmt.Errorf("it shows %d of %d bytes", info.Size(), len(probeText))
	}
	return err
}
