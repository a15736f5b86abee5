package main

import "github.com/posternhealth/postern/agent"

// subjectCommands are the words after `postern subject`.
var subjectCommands = []command{
	{"subject merge", "OLD NEW [--unresolved | --ended-by NAME]", "two ids are one person: consents, restrictions, membership and codes go along", subjectMerge, false},
}

// subject hands over to the word that follows.
func subject(k *call) error { return k.among(subjectCommands) }

// subjectMerge writes down what the clinic has found about two ids. The answer
// does not repeat them.
func subjectMerge(k *call) error {
	input := k.flags.String("input", "", "the `NAME` of the list under inputs, where there are several")
	unresolved := k.flags.Bool("unresolved", false, "they may be one person: both are withheld until somebody has decided")
	endedBy := k.flags.String("ended-by", "", "`NAME` of who found that they are two people after all")
	return k.on(2, 2, func(a *agent.Agent) error {
		path, err := a.MergeSubjects(*input, agent.Merge{From: k.arg(0), Into: k.arg(1), Unresolved: *unresolved, EndedBy: *endedBy})
		if err != nil {
			return err
		}
		return k.say(map[string]string{"written": path}, "written to %s; it holds from the next decision on\n", path)
	})
}
