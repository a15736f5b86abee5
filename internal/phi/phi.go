// Package phi carries bytes that came from a clinic's records.
//
// A value of this package cannot be printed by accident: every formatting,
// marshalling and logging method writes a placeholder. Code that must write
// the bytes themselves converts explicitly, []byte(v), and such conversions
// are what a reviewer looks for.
package phi

import (
	"fmt"
	"io"
	"log/slog"
	"strconv"
)

// Bytes is a value, or a part of a value, of a record.
type Bytes []byte

// Text is a value of a record kept as a string, for use as a map key.
type Text string

const placeholder = "[withheld]"

func (b Bytes) String() string               { return placeholder }
func (b Bytes) GoString() string             { return placeholder }
func (b Bytes) Format(f fmt.State, _ rune)   { _, _ = io.WriteString(f, placeholder) }
func (b Bytes) MarshalText() ([]byte, error) { return []byte(placeholder), nil }
func (b Bytes) MarshalJSON() ([]byte, error) { return []byte(strconv.Quote(placeholder)), nil }
func (b Bytes) LogValue() slog.Value         { return slog.StringValue(placeholder) }
func (t Text) String() string                { return placeholder }
func (t Text) GoString() string              { return placeholder }
func (t Text) Format(f fmt.State, _ rune)    { _, _ = io.WriteString(f, placeholder) }
func (t Text) MarshalText() ([]byte, error)  { return []byte(placeholder), nil }
func (t Text) MarshalJSON() ([]byte, error)  { return []byte(strconv.Quote(placeholder)), nil }
func (t Text) LogValue() slog.Value          { return slog.StringValue(placeholder) }
