package transfer

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/posternhealth/postern/internal/sshsig"
)

// Expectation is what the clinic keeps of a sealed drop to hold a receipt
// against.
type Expectation struct {
	Sender         string         `json:"sender"`
	Recipient      string         `json:"recipient"`
	Exchange       string         `json:"exchange"`
	Sequence       int64          `json:"sequence"`
	ManifestSHA256 string         `json:"manifest_sha256"`
	Parts          []ExpectedPart `json:"parts"`
	Rows           int64          `json:"rows"` // of records, which a response file answers
	People         int64          `json:"people"`
	Totals         []Total        `json:"totals"`
	Introduces     string         `json:"introduces,omitempty"` // the key that whoever accepts the drop knows from then on
}

// ExpectedPart is what a receipt must say of a part; some parts hold no records.
type ExpectedPart struct {
	ReceiptPart
	Records bool `json:"records,omitempty"`
}

func expectation(m *Manifest, manifestSum string, parts []BookPart, book *Book) Expectation {
	e := Expectation{Sender: m.Sender, Recipient: m.Recipient, Exchange: m.Exchange, Sequence: m.Sequence, ManifestSHA256: manifestSum,
		People: book.People, Totals: book.Totals, Introduces: m.Introduces}
	for _, p := range parts {
		if p.RowsOfRecords() {
			e.Rows += p.Rows
		}
		e.Parts = append(e.Parts, ExpectedPart{ReceiptPart{Name: p.Name, Rows: p.Rows, PlaintextSHA256: p.PlaintextSHA256}, p.RowsOfRecords()})
	}
	return e
}

// Outcome is the state that a receipt puts a drop in.
type Outcome string

// Differing means that the two sides hold different things, or that the
// receipt is about another drop: a person must look.
const (
	Acknowledged   Outcome = "acknowledged"
	PartlyRejected Outcome = "partly-rejected"
	WhollyRejected Outcome = "rejected"
	Differing      Outcome = "differing"
)

// Difference is one thing that the two sides do not say alike.
type Difference struct {
	Where    string // file name, or "receipt"
	What     string // member of the receipt
	Expected string
	Received string
}

// Reconciliation is a receipt held against what was sent.
type Reconciliation struct {
	Outcome     Outcome
	Fault       Class  // of a rejected drop
	File        string // that the recipient found wrong
	Rows        int64  // of records, that it took
	Refused     int64  // rows that it could not load
	Differences []Difference
	Receipt     *Receipt
}

// ErrReceiptSignature means that the receipt is not provably the recipient's;
// nothing may be concluded from it.
var ErrReceiptSignature = errors.New("receipt is not signed by its recipient")

// Compare checks the receipt's signature by the recipient's receipt key, then
// holds it against the sealed drop.
func Compare(e Expectation, receipt, signature []byte, signers *sshsig.AllowedSigners, at time.Time) (*Reconciliation, error) {
	key, err := sshsig.Verify(signature, ReceiptNamespace, bytes.NewReader(receipt))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceiptSignature, err)
	}
	if err := signers.Check(e.Recipient, key, ReceiptNamespace, at); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrReceiptSignature, err)
	}
	r, err := ParseReceipt(receipt)
	if err != nil {
		return nil, err
	}
	c := &Reconciliation{Receipt: r, Fault: Class(r.Fault), File: r.File}
	c.compareHead(e)
	if r.Status == Accepted {
		c.compareParts(e)
	}
	c.Outcome = c.judge()
	return c, nil
}

func (c *Reconciliation) differ(where, what, expected, received string) {
	if expected != received {
		c.Differences = append(c.Differences, Difference{where, what, expected, received})
	}
}

// compareHead allows a rejecting receipt not to know what it could not read. A
// test drop's may bear our number, and another sender.
func (c *Reconciliation) compareHead(e Expectation) {
	r := c.Receipt
	c.differ("receipt", "recipient", e.Recipient, r.Recipient)
	c.differ("receipt", "exchange", e.Exchange, r.Exchange)
	c.differ("receipt", "sequence", strconv.FormatInt(e.Sequence, 10), strconv.FormatInt(r.Sequence, 10))
	if r.Status == Rejected {
		c.differ("receipt", "sender", e.Sender, cmp.Or(r.Sender, e.Sender))
		return
	}
	c.differ("receipt", "sender", e.Sender, r.Sender)
	c.differ("receipt", "manifest_sha256", e.ManifestSHA256, r.ManifestSHA256)
}

func (c *Reconciliation) compareParts(e Expectation) {
	got := make(map[string]ReceiptPart, len(c.Receipt.Parts))
	for _, p := range c.Receipt.Parts {
		got[p.Name] = p
	}
	if len(got) != len(c.Receipt.Parts) || len(got) != len(e.Parts) {
		c.differ("receipt", "parts", strconv.Itoa(len(e.Parts)), strconv.Itoa(len(c.Receipt.Parts)))
	}
	rows := int64(0)
	for _, want := range e.Parts {
		p := got[want.Name]
		rows += p.Rows
		if want.Records {
			c.Rows += p.Rows
		}
		c.Refused += p.Refused
		c.differ(want.Name, "rows", strconv.FormatInt(want.Rows, 10), strconv.FormatInt(p.Rows+p.Refused, 10))
		c.differ(want.Name, "plaintext_sha256", want.PlaintextSHA256, p.PlaintextSHA256)
	}
	c.differ("receipt", "rows", strconv.FormatInt(rows, 10), strconv.FormatInt(c.Receipt.Rows, 10))
}

func (c *Reconciliation) judge() Outcome {
	switch {
	case len(c.Differences) > 0:
		return Differing
	case c.Receipt.Status == Rejected:
		return WhollyRejected
	case c.Refused > 0:
		return PartlyRejected
	}
	return Acknowledged
}
