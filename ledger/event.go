// Package ledger is the clinic's log of what Postern did: one entry for each
// run, drop, delivery, receipt, hold, policy and key, none for a record.
//
// It promises that an entry, once committed, cannot be altered, removed or
// moved without that being found: entries are the leaves of a Merkle tree
// (RFC 6962 §2.1), whose head is signed as a checkpoint (C2SP tlog-checkpoint
// in a C2SP signed note). Altered rows are found by Verify alone. A clinic
// that cuts off the end, is restored from an old backup, or writes a new
// history whole, is found out by who holds an earlier checkpoint: recipients
// get one with each drop and say in their receipts which one they saw.
//
// An entry has nothing derived from a patient but hashes of ciphertext.
package ledger

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"time"
)

// Kind says what happened.
type Kind string

// The kinds of events.
const (
	DropCommitted   Kind = "drop-committed"
	DropVoided      Kind = "drop-voided"
	Delivered       Kind = "delivered"
	PickedUp        Kind = "picked-up" // the recipient has taken a delivered drop away
	Receipt         Kind = "receipt"
	Difference      Kind = "difference" // between what was sent and what a recipient answered: opened, assigned, settled
	Resend          Kind = "resend"     // rows that a recipient does not hold are to be decided and sent anew
	Hold            Kind = "hold"
	Release         Kind = "release"
	Policy          Kind = "policy"
	Key             Kind = "key"
	Quarantined     Kind = "quarantined" // the gate stopped a drop
	Excepted        Kind = "excepted"    // two people found a hit of the gate to be a false alarm
	Discarded       Kind = "quarantine-discarded"
	TestDrop        Kind = "test-drop"
	Recalled        Kind = "recalled"         // the recipient was asked to delete what it was sent
	RecallConfirmed Kind = "recall-confirmed" // and has said that it is deleted
)

// Event is what an entry says. Its JSON form has its members in this order;
// those of Data are in the order of its struct's fields, or sorted for a map,
// so equal events have equal bytes.
type Event struct {
	Kind     Kind      `json:"kind"`
	At       time.Time `json:"at"`                 // kept in UTC
	Exchange string    `json:"exchange,omitempty"` // its opaque id
	Sequence int64     `json:"sequence,omitempty"` // the drop's number
	Data     any       `json:"data,omitempty"`     // a JSON object
}

// maxEvent bounds an entry. What needs more is a list, and a list of what
// happened to records belongs into the clinic's book.
const maxEvent = 64 << 10

var kindShape = regexp.MustCompile(`^[a-z]+(-[a-z]+)*$`)

func (e Event) encode() ([]byte, error) {
	if !kindShape.MatchString(string(e.Kind)) {
		return nil, fmt.Errorf("event kind %q is not words of small letters joined by hyphens", e.Kind)
	}
	if e.At.IsZero() {
		return nil, fmt.Errorf("event %s has no time", e.Kind)
	}
	e.At = e.At.UTC().Round(0) // without the monotonic clock
	if e.Data != nil {
		data, err := encodeJSON(e.Data)
		if err != nil {
			return nil, fmt.Errorf("event %s: %w", e.Kind, err)
		}
		if !bytes.HasPrefix(data, []byte("{")) {
			return nil, fmt.Errorf("event %s: its data is no JSON object", e.Kind)
		}
		e.Data = json.RawMessage(data)
	}
	text, err := encodeJSON(e)
	if err != nil {
		return nil, fmt.Errorf("event %s: %w", e.Kind, err)
	}
	if len(text) > maxEvent {
		return nil, fmt.Errorf("event %s: %d bytes; an entry has at most %d", e.Kind, len(text), maxEvent)
	}
	return text, nil
}

// encodeJSON is json.Marshal that leaves <, > and & as they are.
func encodeJSON(v any) ([]byte, error) {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(out.Bytes(), []byte("\n")), nil
}

// Entry is an event in its place.
type Entry struct {
	Index int64  // 0-based
	Text  []byte // the event's JSON, the bytes that are hashed
	Leaf  Hash   // RFC 6962 leaf hash of Text
}
