package transfer

import (
	"cmp"
	"fmt"
	"strings"
)

// Rules are how a recipient wants its server used, whatever that allows.
type Rules struct {
	NoReadBack bool   `json:"no_read_back,omitempty"` // files are not read back, as reading may take them away
	Temporary  string `json:"temporary,omitempty"`    // names of files on their way, with {name}; "": as drops have them
}

// usualTemporary are names that a recipient of drops ignores (docs/drop-format.md).
const usualTemporary = ".{name}.part"

// temporary is what a file is called on its way.
func (r Rules) temporary(name string) string {
	return strings.Replace(cmp.Or(r.Temporary, usualTemporary), "{name}", name, 1)
}

// onItsWay undoes temporary.
func (r Rules) onItsWay(temporary string) (name string, is bool) {
	before, after, _ := strings.Cut(cmp.Or(r.Temporary, usualTemporary), "{name}")
	name, is = strings.CutPrefix(temporary, before)
	if is {
		name, is = strings.CutSuffix(name, after)
	}
	return name, is
}

// CheckTemporary says what is wrong with a form of temporary names.
func CheckTemporary(form string) error {
	example := strings.TrimPrefix(strings.Replace(form, "{name}", "a", 1), ".")
	if !strings.Contains(form, "{name}") || form == "{name}" || !barePattern.MatchString(example) {
		return fmt.Errorf("%q is not {name} with letters, digits and . _ @ + , = - before or behind it", form)
	}
	return nil
}

// used is what all destinations have: the plan by which they are used.
type used struct{ use Plan }

// Obey sets the recipient's rules. A plan that was learned under others is not followed.
func (u *used) Obey(r Rules) { u.use.Rules = r }

// Profile is what is documented of a kind of SFTP server. It gives settings their
// defaults; what a probe learns of the very server goes before it.
type Profile struct {
	Name       string
	Tested     string          // the test of ours that ran with it; "": known from documentation alone
	NoReadBack bool            // the default of Rules
	Allows     map[string]bool // abilities of an account that nothing was taken from, as far as they are documented
	Facts      []Fact
}

// Fact is one thing that is documented, and where.
type Fact struct{ What, Source string }

// Profiles are the kinds of servers that are known. What has no source here is
// not known, and is left to the probe.
var Profiles = []Profile{
	{Name: "openssh", Tested: "TestMatrix", Allows: allowed(canRename, canPosixRename, canFsync, canOverwrite, canLimits, canSpace), Facts: []Fact{
		{"it has posix-rename, fsync, statvfs and limits", "OpenSSH PROTOCOL §4.3, 4.4, 4.6, 4.8"},
		{"any request can be refused to an account", "sftp-server(8), -P and -R"},
	}},
	{Name: "proftpd", Tested: "TestProFTPD", Allows: allowed(canRename, canOverwrite), Facts: []Fact{
		{"asking for a size counts as reading, where reading is limited", "github.com/proftpd/proftpd/issues/1338"},
	}},
	{Name: "sftpgo", Allows: allowed(canRename), Facts: []Fact{
		{"a file stands under its name while it is written, unless upload_mode is 1 or 2", "github.com/drakkan/sftpgo docs/full-configuration.md, common"},
		{"over a bucket, a rename copies and then removes, and times cannot be set", "github.com/drakkan/sftpgo docs/s3.md"},
		{"what an account may do is given one by one for each folder", "github.com/drakkan/sftpgo README.md"},
	}},
	{Name: "aws-transfer", Allows: map[string]bool{canRename: true, canSetstat: false}, Facts: []Fact{
		{"over S3 setstat is refused", "docs.aws.amazon.com/transfer/latest/userguide/transfer-file.html#avoid-set-stat; github.com/paramiko/paramiko/issues/1969"},
		{"over S3 one file goes up through one connection; after 30 idle minutes a connection ends", "docs.aws.amazon.com/transfer/latest/userguide/transfer-file.html"},
		{"it is renamed by SFTP version 3's own rename", "github.com/hierynomus/sshj/issues/751"},
		{"where objects are locked, nothing is overwritten or removed", "docs.aws.amazon.com/transfer/latest/userguide/requirements-S3.html"},
	}},
	{Name: "sterling", NoReadBack: true, Facts: []Fact{
		{"a file in a mailbox is a message; to be read may use it up, so it is not read back", "github.com/paramiko/paramiko/pull/579; ibm.com/docs/en/b2b-integrator/6.2.1?topic=adapter-transfer-resumption"},
		{"what broke off lies in a staging area, and is shown to nobody else", "ibm.com/docs/en/b2b-integrator/6.2.1?topic=adapter-transfer-resumption"},
		{"what comes into a mailbox can start a process at the recipient: tell it of the probe's file", "ibm.com/docs/en/b2b-integrator/6.1.2?topic=z-sftp-server-adapter-20"},
	}},
	{Name: "moveit", Facts: []Fact{
		{"read, write, delete and list are given one by one for each folder; who may write may overwrite", "docs.progress.com/bundle/moveit-transfer-web-admin-help-2026/page/Access-Types-Admins-Fileadmins.html"},
		{"an account may have a quota of bytes, which the recipient frees by removing files", "docs.progress.com/bundle/moveit-transfer-web-admin-help-2024/page/User-Profile-User-Settings.html"},
	}},
	{Name: "goanywhere", Facts: []Fact{
		{"accounts are limited to folders; of renaming, reading and overwriting nothing was found", "goanywheremft.com/products/services/administration/user-accounts"},
	}},
	{Name: "write-only-mailbox", Allows: map[string]bool{canList: false, canLstat: false, canStat: false, canRead: false}, Facts: []Fact{
		{"lstat and stat are refused to an account that may only write", "github.com/Velocidex/velociraptor/issues/950; github.com/theophilusx/ssh2-sftp-client/issues/372"},
		{"a file may be moved away as soon as it is whole", "github.com/paramiko/paramiko/issues/1843"},
	}},
}

func allowed(names ...string) map[string]bool {
	all := map[string]bool{canWrite: true, canList: true, canLstat: true, canStat: true, canRead: true, canRemove: true}
	for _, name := range names {
		all[name] = true
	}
	return all
}

// ProfileOf finds a profile; nil: there is none of that name.
func ProfileOf(name string) *Profile {
	for i := range Profiles {
		if Profiles[i].Name == name {
			return &Profiles[i]
		}
	}
	return nil
}

// Known says on what a profile stands.
func (p *Profile) Known() string {
	if p.Tested == "" {
		return p.Name + ", from documentation: nobody has tried it with Postern"
	}
	return p.Name + ", tested"
}

// Unlike lists where a server was seen to be otherwise than documented. It is used
// as it was seen.
func (p *Profile) Unlike(seen *Plan) (list []string) {
	for _, a := range seen.Abilities {
		documented, known := p.Allows[a.Name]
		if !known || documented == a.Allowed || a.Name == canRead && seen.Rules.NoReadBack {
			continue
		}
		was, is := "refused", "allowed"
		if documented {
			was, is = "allowed", "refused"
		}
		list = append(list, fmt.Sprintf("%s: profile %s has it as %s, this server was seen to have it %s, and is used so", a.Name, p.Name, was, is))
	}
	return list
}
