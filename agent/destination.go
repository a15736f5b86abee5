package agent

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/sshsig"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/transfer"
)

// DestinationConfig is where drops go: exactly one of its kinds.
type DestinationConfig struct {
	SFTP   *SFTPConfig   `yaml:"sftp"`
	Folder *FolderConfig `yaml:"folder"`
	HTTPS  *HTTPSConfig  `yaml:"https"`
	S3     *S3Config     `yaml:"s3"`

	TestFolder    string `yaml:"test_folder"`              // for drops about nobody, as the folder or URL of its kind
	ReadBack      string `yaml:"read_back" words:"yes|no"` // whether files are read back, where that is allowed; unless written, as the profile has it, or yes
	TemporaryName string `yaml:"temporary_name"`           // of bare files on their way, with {name}
	MaxFile       size   `yaml:"max_file"`                 // the largest file that is taken; unless written, as much as the kind of destination has it
	MaxRows       int64  `yaml:"max_rows"`                 // that one file may have; 0: any
}

// kinds are how many of them are configured.
func (d DestinationConfig) kinds() (n int) {
	for _, is := range []bool{d.SFTP != nil, d.Folder != nil, d.HTTPS != nil, d.S3 != nil} {
		if is {
			n++
		}
	}
	return n
}

func (d DestinationConfig) takesReceipts() bool {
	return d.SFTP != nil && d.SFTP.Receipts != "" || d.Folder != nil && d.Folder.Receipts != "" || d.S3 != nil && d.S3.Receipts != ""
}

// SFTPConfig is a recipient's SFTP server. Its host key is pinned.
type SFTPConfig struct {
	Host     string `yaml:"host,required"`
	Port     int    `yaml:"port"`
	User     string `yaml:"user,required"`
	Key      string `yaml:"key,required"`
	HostKey  string `yaml:"host_key,required"`
	Folder   string `yaml:"folder,required"`
	Receipts string `yaml:"receipts"`
	// Profile is the kind of server, as transfer.Profiles knows them.
	Profile string `yaml:"profile" words:"openssh|proftpd|sftpgo|aws-transfer|sterling|moveit|goanywhere|write-only-mailbox"`
}

// FolderConfig is a local or mounted folder.
type FolderConfig struct {
	Path     string `yaml:"path,required"`
	Receipts string `yaml:"receipts"`
}

// profile is that of the destination's server; nil: none is named.
func (d DestinationConfig) profile() *transfer.Profile {
	if d.SFTP == nil {
		return nil
	}
	return transfer.ProfileOf(d.SFTP.Profile)
}

// rules are how the recipient wants its server used.
func (d DestinationConfig) rules() transfer.Rules {
	byProfile := "yes"
	if p := d.profile(); p != nil && p.NoReadBack {
		byProfile = "no"
	}
	return transfer.Rules{NoReadBack: cmp.Or(d.ReadBack, byProfile) == "no", Temporary: d.TemporaryName}
}

// size is a number of bytes, written as 500 MB: units are KB, MB and GB, in thousands,
// so that whoever counts in 1024s is never sent too much.
type size int64

func (s *size) UnmarshalNode(n strictyaml.Node) {
	digits, unit, _ := strings.Cut(n.Text(), " ")
	count, err := strconv.ParseInt(digits, 10, 32)
	times := map[string]int64{"KB": 1e3, "MB": 1e6, "GB": 1e9}[unit]
	if err != nil || count < 1 || times == 0 {
		n.Fail("write it as 500 MB or 5 GB", "%q is no size", n.Text())
		return
	}
	*s = size(count * times)
}

// maxFile is the largest file that the destination takes; 0: nobody has said. A
// store takes 5 GiB in one piece (S3 API, PutObject).
func (d DestinationConfig) maxFile() int64 {
	if d.MaxFile == 0 && d.S3 != nil {
		return 5 << 30
	}
	return int64(d.MaxFile)
}

// splits tells whether there may be several files of one dataset.
func (r *run) splits() bool {
	if r.bare == nil {
		return true
	}
	template, err := transfer.ParseNameTemplate(r.x.recipient.Bare.Name)
	return err == nil && template.Has("part")
}

// fits refuses a drop before it is committed when the recipient cannot take a file
// of it: it would wait for ever, and all after it.
func (r *run) fits() error {
	limit := r.x.recipient.Destination.maxFile()
	for _, f := range r.built.Sealed.Files {
		if limit > 0 && f.Size > limit {
			remedy := "release a shorter period or fewer columns, or ask the recipient to take more; nothing was committed"
			if !r.splits() {
				remedy = "add {part} to bare.name, so that there may be several files of a dataset; or " + remedy
			}
			return fail(Configuration, nil, remedy,
				"recipients.%s.destination.max_file: %s has %d bytes, and %d are taken", r.x.config.Recipient, f.Name, f.Size, limit)
		}
	}
	return nil
}

// checkTemporary lets only bare files have other names on their way: who takes
// drops ignores those that the format has, and no others.
func checkTemporary(path string, r RecipientConfig, errs configErrors) {
	form := r.Destination.TemporaryName
	if form == "" {
		return
	}
	if err := transfer.CheckTemporary(form); err != nil {
		errs.add(path, "write a name that the recipient ignores, such as {name}.filepart", "%v", err)
	} else if r.Bare == nil {
		errs.add(path, "remove it, or add bare:", "names of a drop's files on their way are fixed by its format")
	}
}

// untested are warnings of servers that are known from documentation alone.
func (c *Config) untested() (warnings []string) {
	recipients, _ := c.recipientsOf("") // of "" it knows no error
	for _, name := range recipients {
		if p := c.Recipients[name].Destination.profile(); p != nil && p.Tested == "" {
			warnings = append(warnings, fmt.Sprintf("recipients.%s.destination.sftp.profile: %s; `postern doctor %s` tries the server", name, p.Known(), name))
		}
	}
	return warnings
}

// destination connects to where a recipient wants its drops, to use it as it wants.
func (a *Agent) destination(ctx context.Context, r RecipientConfig) (transfer.Destination, error) {
	d, err := a.connect(ctx, r)
	if err == nil {
		d.Obey(r.Destination.rules())
	}
	return d, err
}

func (a *Agent) connect(ctx context.Context, r RecipientConfig) (transfer.Destination, error) {
	if f := r.Destination.Folder; f != nil {
		receipts := f.Receipts
		if receipts != "" {
			receipts = a.Config.Path(receipts)
		}
		return transfer.NewFolder(a.Config.Path(f.Path), receipts)
	}
	if r.Destination.SFTP == nil {
		return a.web(r.Destination)
	}
	s := r.Destination.SFTP
	login, err := s.login(a.Config.Dir)
	if err != nil {
		return nil, err
	}
	hostKey, err := transfer.ParseHostKey(s.HostKey)
	if err != nil {
		return nil, fail(KeyTrouble, err, "", "host key of %s", s.Host)
	}
	port := s.Port
	if port == 0 {
		port = 22
	}
	return transfer.DialSFTP(ctx, transfer.SFTPConfig{
		Address: net.JoinHostPort(s.Host, strconv.Itoa(port)), User: s.User, Signer: login,
		HostKey: hostKey, Folder: s.Folder, Receipts: s.Receipts,
	})
}

// login is the key that logs in; its public half is with the recipient.
func (s *SFTPConfig) login(dir string) (login ssh.Signer, err error) {
	text, err := keyring.Resolve(s.Key, dir)
	if err == nil {
		login, err = sshsig.LoadSigner(text)
	}
	if err != nil {
		return nil, fail(KeyTrouble, err, "restore it from its backup, or give the recipient the public half of a new one", "login key for %s", s.Host)
	}
	return login, nil
}
