package agent

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/policies"
)

// Closure is everything that an approval of an exchange covers. Approvers sign
// the SHA-256 of its text, so the text is made to be read and compared.
type Closure struct {
	Exchange string
	Parts    []Part
}

// Part is one thing a closure stands on: a file, or a definition in lines.
type Part struct {
	Name   string
	SHA256 string   // hex, of the file's bytes or of the lines, each with its line feed
	Lines  []string // none of a file
	file   string   // where the file lies; "" when read back from a text
}

// The names of parts that more than one place speaks of.
const (
	policyPart    = "policy"
	includePart   = "include "
	schemaPart    = "schema "
	inputPart     = "input "
	recipientPart = "recipient"
	sealToPart    = "recipient's encryption keys"
	barePart      = "profile bare"
	approversPart = "approvers"
)

const (
	closureHeading = "postern closure/v1 of exchange "
	closureIndent  = "    "
	digestMark     = " sha256:"
)

// closure lists what exchange x stands on now, from what load has read, so that
// what is approved is what runs. Of a protective input it is the definition:
// its contents change daily, under guards that are part of it.
func (a *Agent) closure(x *exchange) *Closure {
	c := &Closure{Exchange: x.name}
	c.policy(x.policy, a.Config.Path(x.config.Policy))
	for _, name := range slices.Sorted(maps.Keys(x.schemas)) {
		c.file(schemaPart+name, x.schemas[name].File, x.schemas[name].SHA256)
	}
	for _, name := range slices.Sorted(maps.Keys(x.tables)) {
		c.file(schemaPart+"of input "+name, x.tables[name].File, x.tables[name].SHA256)
	}
	c.add("source", sourceLines(a.Config.Sources[x.config.Source]))
	for _, name := range slices.Sorted(maps.Keys(a.Config.Inputs)) {
		in := a.Config.Inputs[name]
		c.add(inputPart+name, []string{
			line("kind", in.Kind), line("file", in.File), fmt.Sprintf("max age %g days", time.Duration(in.MaxAge).Hours()/24), fmt.Sprintf("shrink limit %g%%", in.ShrinkLimit*100),
		})
	}
	c.classifier(a.Config, x.classifier)
	c.recipient(a.Config, x)
	c.organizations(a.Config, x.config.Recipient)
	c.add("folders", []string{a.Config.place()})
	c.add(approversPart, approverLines(a.Config.Approvers))
	signing := []string{fingerprint(a.signer)}
	if a.openPGP != nil && slices.ContainsFunc(x.recipient.EncryptTo, func(k KeyConfig) bool { return k.File != "" }) {
		signing = append(signing, a.openPGP.Fingerprint())
	}
	c.add("signing key", signing)
	c.add("checkpoint key", []string{a.checkpointFingerprint()})
	c.add("archive key", []string{a.Config.Keys.Archive})
	c.add("review key", []string{a.Config.Keys.reviewKey()})
	return c
}

// place says where the state lies to the configuration. Relative paths in it
// begin at its folder, so another folder with the same state would have other
// lists of consents under the same names. A clinic all in one folder may move.
func (c *Config) place() string {
	config, state := resolved(c.Dir), resolved(c.StateDir())
	if inside, err := filepath.Rel(config, state); err == nil && filepath.IsLocal(inside) {
		return line("state", filepath.ToSlash(inside))
	}
	return line("state", state) + line(", configuration", config)
}

// resolved is a folder without links and from the root on, as far as that can
// be told: it may not be there yet.
func resolved(dir string) string {
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	if whole, err := filepath.Abs(dir); err == nil {
		dir = whole
	}
	return dir
}

// policy adds a policy and the files that it names.
func (c *Closure) policy(p *policies.Policy, file string) {
	c.file(policyPart, file, p.SHA256)
	for _, i := range p.Includes() {
		c.file(includePart+i.Name, filepath.Join(filepath.Dir(file), filepath.FromSlash(i.Name)), i.SHA256)
	}
}

func (c *Closure) file(name, path, sum string) {
	c.Parts = append(c.Parts, Part{Name: plainText(name), SHA256: sum, file: path})
}

func (c *Closure) add(name string, lines []string) {
	c.Parts = append(c.Parts, Part{Name: plainText(name), SHA256: hexSum([]byte(strings.Join(lines, "\n") + "\n")), Lines: lines})
}

// line is a word of the configuration and its value.
func line(name, value string) string { return name + " " + plainText(value) }

// plainText keeps a value on its line, and such as it looks: what could end it,
// turn it around or stand in it unseen is quoted, so that no value can pass for
// another, or for another line of the closure.
func plainText(value string) string {
	unseen := func(r rune) bool { return !unicode.IsPrint(r) }
	if strings.HasPrefix(value, `"`) || strings.ContainsFunc(value, unseen) {
		return strconv.Quote(value)
	}
	return value
}

func sourceLines(s SourceConfig) []string {
	var lines []string
	for _, f := range s.Files {
		text := line("match", f.Match) + line(", format", f.Format)
		if f.Dataset != "" {
			text += line(", dataset", f.Dataset)
		}
		lines = append(lines, text)
	}
	return lines
}

// recipient adds who receives, by which keys, and where.
func (c *Closure) recipient(config *Config, x *exchange) {
	r := x.recipient
	lines := []string{line("id", x.config.Recipient), line("exchange id", x.config.ID), line("kind", r.Kind), line("name", r.Name)}
	for _, id := range r.Identifiers {
		lines = append(lines, line("identifier", id))
	}
	c.add(recipientPart, lines)
	c.add(sealToPart, x.sealLines)
	if r.Bare != nil {
		c.add(barePart, r.Bare.lines())
	}
	switch d := r.Destination; {
	case d.Folder != nil:
		c.add("destination", []string{line("folder", d.Folder.Path)})
	case d.HTTPS != nil:
		c.add("destination", d.HTTPS.lines())
		c.add("host key", []string{config.vouching(d.HTTPS.CA)})
	case d.S3 != nil:
		c.add("destination", []string{line("s3", d.S3.URL), line("region", d.S3.Region)})
		c.add("host key", []string{config.vouching(d.S3.CA)})
	default:
		s := d.SFTP
		c.add("destination", []string{line("sftp host", s.Host), line("port", fmt.Sprint(cmp.Or(s.Port, 22))), line("user", s.User), line("folder", s.Folder)})
		c.add("host key", []string{keyFingerprint(s.HostKey)})
	}
	receipts := []string{line("receipts", r.Receipt.Mode)}
	for _, k := range r.Receipt.Key {
		receipts = append(receipts, k.approved(keyFingerprint(k.Line)))
	}
	c.add("receipt key", receipts)
}

// organizations adds whom a consent or a restriction may name. A name that
// nobody bears may mean the recipient and keeps records back, so giving it to
// another organization can open a door; so can another form of record numbers.
func (c *Closure) organizations(config *Config, recipient string) {
	o := config.Organization
	lines := []string{line("clinic", o.ID), line("time zone", o.TimeZone)}
	if config.Demo {
		lines = append(lines, "demo, where sample texts stand for legal ones")
	}
	for _, id := range o.Identifiers {
		lines = append(lines, line("clinic", id))
	}
	for _, form := range o.RecordNumbers {
		lines = append(lines, line("record number", form))
	}
	for _, id := range config.Others {
		lines = append(lines, line("other", id))
	}
	for _, name := range slices.Sorted(maps.Keys(config.Recipients)) {
		if name == recipient {
			continue
		}
		for _, id := range append([]string{name}, config.Recipients[name].Identifiers...) {
			lines = append(lines, line("other recipient", id))
		}
	}
	c.add("organizations", lines)
}

// keyFingerprint names an SSH public key as ssh-keygen -l does; a line that is
// no key, which the configuration's check refuses, stands for itself.
func keyFingerprint(text string) string {
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
	if err != nil {
		return plainText(text)
	}
	return ssh.FingerprintSHA256(key)
}

// Text is what approvers read, and whose SHA-256 they sign.
func (c *Closure) Text() string {
	var b strings.Builder
	b.WriteString(closureHeading + c.Exchange + "\n")
	for _, p := range c.Parts {
		b.WriteString(p.Name + digestMark + p.SHA256 + "\n")
		for _, l := range p.Lines {
			b.WriteString(closureIndent + l + "\n")
		}
	}
	return b.String()
}

// SHA256 is the closure's digest in hex.
func (c *Closure) SHA256() string { return hexSum([]byte(c.Text())) }

func (c *Closure) part(name string) (Part, bool) {
	at := slices.IndexFunc(c.Parts, func(p Part) bool { return p.Name == name })
	if at < 0 {
		return Part{}, false
	}
	return c.Parts[at], true
}

// parseClosure reads a text back that Text wrote.
func parseClosure(text string) (*Closure, error) {
	c := &Closure{}
	for number, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		name, sum, isPart := cutLast(l, digestMark)
		switch inner, isLine := strings.CutPrefix(l, closureIndent); {
		case number == 0:
			c.Exchange, isPart = strings.CutPrefix(l, closureHeading)
			if !isPart {
				return nil, errors.New("not a closure")
			}
		case isLine && len(c.Parts) > 0:
			last := &c.Parts[len(c.Parts)-1]
			last.Lines = append(last.Lines, inner)
		case isPart:
			c.Parts = append(c.Parts, Part{Name: name, SHA256: sum})
		default:
			return nil, fmt.Errorf("line %d is neither a part nor one of its lines", number+1)
		}
	}
	return c, nil
}

func cutLast(text, mark string) (before, after string, found bool) {
	at := strings.LastIndex(text, mark)
	if at < 0 {
		return text, "", false
	}
	return text[:at], text[at+len(mark):], true
}

// Change is a part in which two closures differ.
type Change struct {
	Part string `json:"part"`
	Was  string `json:"was"` // what only the old one has: its lines, or the SHA-256 of its file
	Is   string `json:"is"`  // likewise of the new one
}

func (c Change) String() string { return fmt.Sprintf("%s: %s → %s", c.Part, c.Was, c.Is) }

// changes are the parts in which now differs from was, in the order of both.
func changes(was, now *Closure) []Change {
	var list []Change
	for _, n := range now.Parts {
		w, there := was.part(n.Name)
		if !there {
			list = append(list, Change{n.Name, "not there", n.text(Part{})})
		} else if w.SHA256 != n.SHA256 {
			list = append(list, Change{n.Name, w.text(n), n.text(w)})
		}
	}
	for _, w := range was.Parts {
		if _, there := now.part(w.Name); !there {
			list = append(list, Change{w.Name, w.text(Part{}), "not there"})
		}
	}
	return list
}

// text is what of a part is not in another: of a file its digest, of a
// definition its lines.
func (p Part) text(other Part) string {
	if len(p.Lines) == 0 {
		return p.SHA256
	}
	own := slices.DeleteFunc(slices.Clone(p.Lines), func(l string) bool { return slices.Contains(other.Lines, l) })
	if len(own) == 0 {
		return "nothing more"
	}
	return strings.Join(own, "; ")
}

// files are the parts that are files.
func (c *Closure) files() []Part {
	return slices.DeleteFunc(slices.Clone(c.Parts), func(p Part) bool { return p.file == "" })
}

// shapes tells whether a part decides what a sealed drop holds and who can open it.
func shapes(part string) bool {
	return part == policyPart || strings.HasPrefix(part, includePart) || strings.HasPrefix(part, schemaPart) ||
		part == "source" || part == recipientPart || part == sealToPart || part == barePart
}
