package main

import (
	"fmt"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/extract"
)

// filter is `postern deid`: standard input through a policy's plan to standard
// output.
func filter(k *call) error {
	f := &agent.Filter{}
	k.flags.StringVar(&f.Policy, "policy", "", "the policy `FILE`")
	k.flags.StringVar(&f.Dataset, "dataset", "", "the dataset `NAME`: a FHIR resource type, or a delimited dataset with --schema")
	k.flags.StringVar(&f.Schema, "schema", "", "the schema `FILE` of a delimited dataset")
	k.flags.StringVar(&f.In, "in", "/dev/stdin", "the `FILE` to read")
	k.flags.StringVar(&f.Keys, "keys", "", "`DIR` with a master key, for codes that repeat")
	k.flags.IntVar(&f.Workers, "workers", 1, "goroutines that transform")
	clocks := k.clocks(false)
	if err := k.parse(0, 0); err != nil {
		return err
	}
	if f.Policy == "" || f.Dataset == "" {
		return &agent.Failure{Class: agent.Usage, What: "deid needs --policy and --dataset", Remedy: "postern deid --policy P --dataset D < in > out"}
	}
	options, err := clocks.options()
	if err != nil {
		return err
	}
	if f.AsOf = options.AsOf; f.AsOf == extract.NoDay {
		f.AsOf = extract.DayOf(now())
	}
	done, err := f.Run(k.ctx, k.out)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(k.err, "postern:", done.Text())
	return err
}
