package policies

import (
	"errors"

	"github.com/posternhealth/postern/internal/strictyaml"
)

// ErrNotInThisVersion is the cause of a mistake that uses a part of the policy
// language which this version of Postern does not have. Such a part is never
// ignored: the policy would promise what is not done.
var ErrNotInThisVersion = errors.New("not part of this version of Postern")

// laterKeys are the keys of a policy that later versions read.
var laterKeys = map[string]string{
	"protect":          "disclosure control (k-anonymity, small cells)",
	"tables":           "aggregate tables",
	"aggregate_ground": "aggregate tables",
	"certificate":      "expert determination",
	"include":          "included policies",
	"minors":           "state rules for minors",
	"states":           "state rules",
	"also":             "a second layout",
	"to":               "value maps",
}

// laterWords are values that later versions understand, by the key they stand at.
var laterWords = map[string]map[string]string{
	"standard": {
		string(LimitedDataSet):      "limited data sets; use identified or safe-harbor",
		string(ExpertDetermination): "expert determination; use safe-harbor",
		string(Aggregate):           "aggregates; use safe-harbor",
	},
	"do": {
		"map":        "value maps; use do: keep on a coded field",
		"shift-date": "date shifting; use do: year, or do: relative-time with a cohort",
		"token":      "keyed tokens (a code derived from the patient is none under 45 CFR 164.514(c)); use do: code",
		"ordinal":    "drop-local ordinals; leave the field out",
		"coarsen":    "coarsening by maps; use do: age-band, do: zip3 or do: year",
		"round":      "rounding; use do: keep",
	},
	"mode":         {"delta": "delta drops; use mode: full"},
	"covered":      {"any-day-of-period": "coverage on any day of the period; use covered: at-service"},
	"if_ambiguous": {"leave-out": "leaving ambiguous members out uncounted; use if_ambiguous: withhold"},
	"part2_rows":   {"same-file": "Part 2 rows beside others; use part2_rows: own-file"},
}

// later is the target of a key that only later versions read.
type later struct{}

func (*later) UnmarshalNode(n strictyaml.Node) {
	key := n.Key()
	n.FailCause(ErrNotInThisVersion, "remove "+key+":", "%s: %s", ErrNotInThisVersion, laterKeys[key])
}
