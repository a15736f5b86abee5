package sshsig

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"golang.org/x/crypto/ssh"
)

// AllowedSigner is one line of an allowed-signers file.
type AllowedSigner struct {
	Principals  []string  // patterns: * and ?, and !pattern, which excludes
	Namespaces  []string  // patterns; none means every namespace
	ValidAfter  time.Time // first and last valid second; zero means no limit
	ValidBefore time.Time
	Key         ssh.PublicKey
	Comment     string
	Line        int // 1-based; 0 for a line that was not read from a file
}

// AllowedSigners says whose keys may sign, for which namespaces and when.
type AllowedSigners struct{ Signers []AllowedSigner }

// Why a key may not sign; Check wraps one of them.
var (
	ErrUnknownKey     = errors.New("the key is not among the allowed signers")
	ErrOtherPrincipal = errors.New("the key belongs to another principal")
	ErrOtherNamespace = errors.New("the key may not sign in this namespace")
	ErrNotThen        = errors.New("the key was not valid at that time")
)

// Check says whether principal's signature by key counts: the file must have
// a line with the key, the principal, the namespace and the time.
func (a *AllowedSigners) Check(principal string, key ssh.PublicKey, namespace string, when time.Time) error {
	if strings.ContainsAny(principal, "*?!,") { // a pattern names nobody
		return fmt.Errorf("%q: %w", principal, ErrOtherPrincipal)
	}
	reason, line := ErrUnknownKey, 0
	for _, s := range a.lines(key) {
		why := s.allows(namespace, when)
		if !matchesList(principal, s.Principals) {
			why = ErrOtherPrincipal
		}
		if why == nil {
			return nil
		}
		reason, line = why, s.Line
	}
	place := ""
	if line > 0 {
		place = fmt.Sprintf(", line %d of the allowed signers", line)
	}
	return fmt.Errorf("%s (key %s%s): %w", principal, ssh.FingerprintSHA256(key), place, reason)
}

// Knows says whether any principal may sign by the key in the namespace at
// that time. To know whether a certain name may, use Check.
func (a *AllowedSigners) Knows(key ssh.PublicKey, namespace string, when time.Time) bool {
	return slices.ContainsFunc(a.lines(key), func(s AllowedSigner) bool { return s.allows(namespace, when) == nil })
}

// Names says whether a line is about the principal and the key, whatever it allows.
func (a *AllowedSigners) Names(principal string, key ssh.PublicKey) bool {
	return slices.ContainsFunc(a.lines(key), func(s AllowedSigner) bool { return matchesList(principal, s.Principals) })
}

func (a *AllowedSigners) lines(key ssh.PublicKey) []AllowedSigner {
	var found []AllowedSigner
	for _, s := range a.Signers {
		if bytes.Equal(s.Key.Marshal(), key.Marshal()) {
			found = append(found, s)
		}
	}
	return found
}

func (s AllowedSigner) allows(namespace string, when time.Time) error {
	if len(s.Namespaces) > 0 && !matchesList(namespace, s.Namespaces) {
		return ErrOtherNamespace
	}
	second := when.Unix() // OpenSSH compares whole seconds, both ends valid
	if !s.ValidAfter.IsZero() && second < s.ValidAfter.Unix() ||
		!s.ValidBefore.IsZero() && second > s.ValidBefore.Unix() {
		return ErrNotThen
	}
	return nil
}

// ParseAllowedSigners reads an allowed-signers file; name is for its errors,
// which are all of the file's, each with its line. It is stricter than
// ssh-keygen, which passes over lines that it does not understand.
func ParseAllowedSigners(name string, data []byte) (*AllowedSigners, error) {
	if !utf8.Valid(data) {
		return nil, fmt.Errorf("%s: not UTF-8 text", name)
	}
	var all AllowedSigners
	var mistakes []error
	number := 0
	for line := range strings.Lines(string(data)) {
		number++
		line = strings.Trim(line, " \t\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parseLine(line)
		if err != nil {
			mistakes = append(mistakes, fmt.Errorf("%s:%d: %w", name, number, err))
			continue
		}
		s.Line = number
		all.Signers = append(all.Signers, s)
	}
	if len(mistakes) > 0 {
		return nil, errors.Join(mistakes...)
	}
	return &all, nil
}

// parseLine reads: principals [options] key-type key [comment].
func parseLine(line string) (s AllowedSigner, err error) {
	principals, rest := field(line)
	if isKeyType(principals) {
		return s, errors.New("starts with the key; put before it whose key it is")
	}
	if s.Principals, err = patterns("principal", principals); err != nil {
		return s, err
	}
	kind, rest := field(rest)
	if !isKeyType(kind) {
		if err := s.parseOptions(kind); err != nil {
			return s, err
		}
		kind, rest = field(rest)
	}
	encoded, rest := field(rest)
	s.Comment = rest
	if !isKeyType(kind) || encoded == "" {
		return s, errors.New("no public key; a line is: principals [options] key-type key [comment]")
	}
	if strings.HasPrefix(kind, "sk-") || strings.Contains(kind, "-cert-") {
		return s, refuseType(kind)
	}
	blob, err := base64.StdEncoding.DecodeString(encoded)
	if err == nil {
		s.Key, err = ssh.ParsePublicKey(blob)
	}
	if err != nil || s.Key.Type() != kind {
		return s, fmt.Errorf("the public key is not one of type %s; copy the line of the .pub file whole", kind)
	}
	return s, acceptable(s.Key)
}

func isKeyType(s string) bool {
	return strings.HasPrefix(s, "ssh-") || strings.HasPrefix(s, "ecdsa-") || strings.HasPrefix(s, "sk-")
}

// field cuts off what stands before the first blank that no quotes enclose.
func field(s string) (first, rest string) {
	quoted := false
	for i, c := range s {
		switch {
		case c == '"':
			quoted = !quoted
		case !quoted && (c == ' ' || c == '\t'):
			return s[:i], strings.TrimLeft(s[i:], " \t")
		}
	}
	return s, ""
}

func (s *AllowedSigner) parseOptions(text string) error {
	seen := map[string]bool{}
	for text != "" {
		name, rest, _ := strings.Cut(text, "=")
		if comma := strings.IndexByte(text, ','); comma >= 0 && comma < len(name) {
			name = text[:comma]
		}
		name = strings.ToLower(name)
		switch name {
		case "namespaces", "valid-after", "valid-before":
		case "cert-authority":
			return errors.New("option cert-authority is not accepted; list each signer's own key")
		default:
			return fmt.Errorf("unknown option %q; known are namespaces, valid-after and valid-before", name)
		}
		value, quoted := strings.CutPrefix(rest, `"`)
		value, rest, closed := strings.Cut(value, `"`)
		if !quoted || !closed || rest != "" && rest[0] != ',' || rest == "," {
			return fmt.Errorf("option %s needs a value in double quotes, and a comma before the next option", name)
		}
		if seen[name] {
			return fmt.Errorf("option %s stands twice", name)
		}
		seen[name] = true
		if err := s.setOption(name, value); err != nil {
			return err
		}
		text = strings.TrimPrefix(rest, ",")
	}
	if !s.ValidAfter.IsZero() && !s.ValidBefore.IsZero() && s.ValidBefore.Before(s.ValidAfter) {
		return errors.New("valid-before is earlier than valid-after: the key would never be valid")
	}
	return nil
}

func (s *AllowedSigner) setOption(name, value string) (err error) {
	switch name {
	case "namespaces":
		s.Namespaces, err = patterns("namespace", value)
	case "valid-after":
		s.ValidAfter, err = parseStamp(name, value)
	case "valid-before":
		s.ValidBefore, err = parseStamp(name, value)
	}
	return err
}

const stampSeconds = "20060102150405"

// parseStamp reads YYYYMMDD[HHMM[SS]], in local time unless a Z follows.
func parseStamp(name, value string) (time.Time, error) {
	digits, utc := strings.CutSuffix(value, "Z")
	zone := time.Local
	if utc {
		zone = time.UTC
	}
	for _, layout := range []string{"20060102", "200601021504", stampSeconds} {
		if len(digits) != len(layout) {
			continue
		}
		when, err := time.ParseInLocation(layout, digits, zone)
		if err == nil && when.Unix() > 0 { // earlier would be read as no limit
			return when, nil
		}
	}
	return time.Time{}, fmt.Errorf("option %s: %q is no time; write YYYYMMDD, YYYYMMDDHHMM or YYYYMMDDHHMMSS, with Z for UTC", name, value)
}

// maxPattern is longer than any name that matches.
const maxPattern = 1000

func patterns(what, text string) ([]string, error) {
	list := strings.Split(text, ",")
	for _, p := range list {
		if strings.TrimPrefix(p, "!") == "" || strings.ContainsAny(p, "\" \t") || len(p) > maxPattern {
			return nil, fmt.Errorf("%s list %q: names are separated by commas, without blanks or quotes", what, text)
		}
	}
	return list, nil
}

// matchesList is OpenSSH's rule for pattern lists: a matching !pattern
// excludes, wherever it stands; otherwise one match is enough.
func matchesList(name string, list []string) bool {
	matched := false
	for _, p := range list {
		p, negated := strings.CutPrefix(p, "!")
		if !matchesPattern(name, p) {
			continue
		}
		if negated {
			return false
		}
		matched = true
	}
	return matched
}

// matchesPattern knows * (any characters) and ? (one).
func matchesPattern(name, pattern string) bool {
	text := strings.NewReplacer(`\*`, ".*", `\?`, ".").Replace(regexp.QuoteMeta(pattern))
	return regexp.MustCompile("^(?s:" + text + ")$").MatchString(name)
}
