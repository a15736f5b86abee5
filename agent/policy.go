package agent

import (
	"maps"
	"os"
	"slices"
	"time"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/strictyaml"
	"github.com/posternhealth/postern/policies"
)

// PolicyAt is a policy that somebody asks about, with what it is checked
// against here. Nothing of it was checked yet but the file itself.
type PolicyAt struct {
	Exchange string // that carries the policy out; "" when none does
	Policy   *policies.Policy
	Env      policies.Env
	Config   *Config
}

// PolicyOf loads the policy of an exchange, or a policy file. The
// configuration may still be a draft: who writes a policy need not wait for
// keys and addresses.
func PolicyOf(configFile, name string) (*PolicyAt, error) {
	c, _, err := readConfig(configFile, strictyaml.Drafts)
	if err != nil {
		return nil, err
	}
	at := &PolicyAt{Exchange: name, Config: c}
	file := name
	if e, err := c.Exchange(name); err == nil {
		file = c.Path(e.Policy)
	} else if at.Exchange, err = c.carrying(file); err != nil {
		return nil, fail(Usage, nil, nearest(name, c.exchangeNames()), "%q is neither an exchange of %s nor a policy file", name, configFile)
	}
	schemas, err := c.schemasOf(at.Exchange)
	if err != nil {
		return nil, err
	}
	tables, err := c.tables()
	if err != nil {
		return nil, err
	}
	at.Env = c.policyEnv(schemas, tables, time.Now())
	if at.Policy, err = policies.Load(file, at.Env); err != nil {
		return nil, fail(PolicyRefused, err, "", "")
	}
	return at, nil
}

// carrying is the exchange whose policy is this file; "" when none is.
func (c *Config) carrying(file string) (string, error) {
	asked, err := os.Stat(file)
	if err != nil {
		return "", err
	}
	for _, e := range c.Exchanges {
		if info, err := os.Stat(c.Path(e.Value.Policy)); err == nil && os.SameFile(info, asked) {
			return e.Key, nil
		}
	}
	return "", nil
}

func (c *Config) exchangeNames() (names []string) {
	for _, e := range c.Exchanges {
		names = append(names, e.Key)
	}
	return names
}

// schemasOf are those of the exchange's source; without an exchange, those of
// all sources, of which no two may call different things by one name.
func (c *Config) schemasOf(exchange string) (map[string]*extract.Schema, error) {
	sources := slices.Sorted(maps.Keys(c.Sources))
	if e, err := c.Exchange(exchange); err == nil {
		sources = []string{e.Source}
	}
	all, from := map[string]*extract.Schema{}, map[string]string{}
	for _, source := range sources {
		_, schemas, err := c.source(source, time.Now)
		if err != nil {
			return nil, err
		}
		for name, schema := range schemas {
			if other, taken := from[name]; taken && all[name].SHA256 != schema.SHA256 {
				return nil, fail(Usage, nil, "name the exchange instead of the file", "the dataset %s has different columns in the sources %s and %s", name, other, source)
			}
			all[name], from[name] = schema, source
		}
	}
	return all, nil
}

// tables are the schemas of the inputs of kind table.
func (c *Config) tables() (map[string]*extract.Schema, error) {
	tables := map[string]*extract.Schema{}
	for name, in := range c.Inputs {
		if in.Kind != TableInput {
			continue
		}
		schema, err := extract.LoadSchema(c.Path(in.Schema))
		if err != nil {
			return nil, fail(Configuration, err, "", "input %s", name)
		}
		tables[name] = schema
	}
	return tables, nil
}

// policyEnv is what policies are checked against at a moment.
func (c *Config) policyEnv(schemas, tables map[string]*extract.Schema, now time.Time) policies.Env {
	env := policies.Env{Schemas: schemas, Inputs: map[string]policies.InputInfo{}, Recipients: map[string]string{},
		Today: extract.DayOf(now.In(c.Zone)), Demo: c.Demo}
	for input, in := range c.Inputs {
		env.Inputs[input] = policies.InputInfo{Kind: policyKinds[in.Kind], Columns: inputColumns(c.Path(in.File), in.Kind), Schema: tables[input]}
	}
	for recipient, r := range c.Recipients {
		env.Recipients[recipient] = r.Kind
	}
	return env
}
