package agent

import (
	"cmp"
	"fmt"

	"github.com/posternhealth/postern/transfer"
)

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
