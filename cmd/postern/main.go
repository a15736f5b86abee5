// Command postern is the guarded gate in a clinic's wall: it lets measure
// extracts out as far as consent, law and agreement allow, and accounts for
// every record.
//
// The rules of its interface:
//
//   - answers go to stdout, everything else (progress, logs, errors) to stderr;
//   - every command that answers takes --json;
//   - an error says what, where, why and what to do, and never shows a value
//     from a record;
//   - exit codes are a contract: 0 done · 1 unexpected · 2 usage · 3 done, but
//     a drop is voided, undelivered or overdue · 4 the question was answered no
//     · 10 configuration · 11 locked · 12 key or host key · 13 policy refused ·
//     14 destination · 15 state or source altered · 16 unbalanced, over
//     tolerance, or stopped by the gate · 17 protective input stale or shrunken
//     · 130 interrupted.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"unicode/utf8"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/page"
	"github.com/posternhealth/postern/internal/strictyaml"
)

// command is one word of the command line.
type command struct {
	name  string
	args  string
	short string
	run   func(*call) error
	alone bool // reads no configuration
}

// call is one invocation: where it reads and writes, and its flags.
type call struct {
	command *command
	ctx     context.Context
	in      io.Reader
	out     io.Writer
	err     io.Writer
	flags   *flag.FlagSet
	config  string
	json    bool
	args    []string
}

var commands = []command{
	{"demo", "[--dir DIR]", "the whole story on one machine", demo, true},
	{"init", "DIR [--approver SHA256:…]…", "make a configuration, keys and folders; record approvers' fingerprints", initialize, true},
	{"check", "", "check configuration, policies and keys, offline; lists all that is to be filled in", check, false},
	{"doctor", "[EXCHANGE|RECIPIENT]", "ask the recipients' servers what they allow, look at state and clock; says how to mend", doctor, false},
	{"policy", "list | check | explain | test | compare | approve", "policy files: what is proved, what is said in plain English", policy, false},
	{"consent", "test | decide | explain | withheld | mend | revocations", "cases held against the rules; decisions about records; answers to patients; what is withheld; how fast a revocation counts", consentCommand, true},
	{"subject", "merge", "two ids are one person: what was decided under either holds for both", subject, false},
	{"plan", "EXCHANGE", "a dry run: every disposition counted, nothing leaves", plan, false},
	{"run", "EXCHANGE [--test]", "one run, now; --test lays a drop about nobody into the recipient's test folder", runOnce, false},
	{"serve", "", "the daemon: runs exchanges on their schedules", serve, false},
	{"status", "", "where each exchange stands, and what needs a person", status, false},
	{"schedule", "[--next N]", "when exchanges come due", schedule, false},
	{"hold", "EXCHANGE", "stop an exchange at once", hold, false},
	{"release", "EXCHANGE [--signature FILE.sig]", "lift a hold, by an approver's signature", release, false},
	{"drops", "list | show | book | deliver | answer | resend | recall | void", "the drops; what was done for each; deliver sends those that wait; answers by hand; asking back; giving up", drops, true},
	{"quarantine", "list | show | except | discard", "drops that the gate stopped: what was found where, exceptions by two people", quarantine, true},
	{"trace", "--drop N --row KEY | --source FILE:LINE", "from a row that was sent back to its source line, decision and transforms; or the other way", trace, false},
	{"receive", "INBOX", "the recipient's side: verify, decrypt, answer", receive, true},
	{"reconcile", "[EXCHANGE] | show | assign | settle", "take answers back; compare source, drop and recipient: show [EXCHANGE]; what is different: assign ID --to NAME, settle ID --because WHY", reconcile, false},
	{"deid", "--policy P --dataset D", "the engine as a filter; its output is no release", filter, true},
	{"ledger", "verify [EXPORT] | show | export", "the tamper-evident log", ledgerCommand, false},
	{"keys", "show | new | rotate | confirm | destroy", "the clinic's keys: fingerprints and epochs; a new master; new codes for a recipient; the end of old ones", keysCommand, true},
	{"version", "", "what this is", version, true},
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := postern(ctx, os.Args[1:], os.Stdin, os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// postern runs one command line and gives its exit code. This is the one
// place where errors become messages and codes.
func postern(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) int {
	if len(args) == 0 || args[0] == "help" || args[0] == "--help" || args[0] == "-h" {
		usage(out)
		if len(args) == 0 {
			return int(agent.Usage)
		}
		return 0
	}
	c, err := find(commands, args[0])
	if err == nil {
		err = c.invoke(ctx, args[1:], in, out, stderr)
	}
	if err == nil || errors.Is(err, flag.ErrHelp) {
		return 0
	}
	var quiet silent
	if !errors.As(err, &quiet) {
		fmt.Fprintf(stderr, "postern: %s\n", withExcerpts(err))
	}
	return agent.ExitCode(err)
}

// silent is a failure whose answer was already given on stdout.
type silent struct{ agent.Class }

func (silent) Error() string { return "answered" }
func (s silent) As(target any) bool {
	f, ok := target.(**agent.Failure)
	if ok {
		*f = &agent.Failure{Class: s.Class}
	}
	return ok
}

func find(among []command, name string) (*command, error) {
	var names []string
	for i := range among {
		if among[i].name == name {
			return &among[i], nil
		}
		names = append(names, among[i].name)
	}
	return nil, usageFailure(fmt.Sprintf("there is no command %q", name), "%s", strictyaml.DidYouMean(name, names))
}

// invoke parses flags, which may stand before and after the arguments.
func (c *command) invoke(ctx context.Context, args []string, in io.Reader, out, stderr io.Writer) error {
	k := &call{command: c, ctx: ctx, in: in, out: out, err: stderr, flags: flag.NewFlagSet(c.name, flag.ContinueOnError)}
	k.flags.SetOutput(io.Discard) // parse tells what is wrong
	k.flags.Usage = func() {}
	if !c.alone {
		k.flags.StringVar(&k.config, "config", "postern.yaml", "the configuration `FILE`")
	}
	k.flags.BoolVar(&k.json, "json", false, "answer as JSON")
	k.args = args
	return c.run(k)
}

// among hands over to the word that follows the name of a group of commands.
func (k *call) among(list []command) error {
	if len(k.args) == 0 || slices.Contains([]string{"help", "-h", "--help", "-help"}, k.args[0]) {
		fmt.Fprintf(k.out, "usage: postern %s COMMAND [flags]\n", k.command.name)
		listCommands(k.out, list)
		if len(k.args) == 0 {
			return silent{agent.Usage}
		}
		return nil
	}
	c, err := find(list, k.command.name+" "+k.args[0])
	if err != nil {
		return err
	}
	return c.invoke(k.ctx, k.args[1:], k.in, k.out, k.err)
}

// parse reads the flags that the command has declared and checks the number of
// arguments; most < 0 means any.
func (k *call) parse(least, most int) error {
	rest := k.args
	k.args = nil
	for {
		if err := k.flags.Parse(rest); err != nil {
			if errors.Is(err, flag.ErrHelp) {
				k.help(k.out)
				return err
			}
			return k.wrongFlag(err)
		}
		rest = k.flags.Args()
		if len(rest) == 0 {
			break
		}
		k.args, rest = append(k.args, rest[0]), rest[1:]
	}
	if len(k.args) < least || most >= 0 && len(k.args) > most {
		what := "too few arguments"
		if len(k.args) > least {
			what = "too many arguments"
		}
		return usageFailure(what, "usage: postern %s %s", k.command.name, k.command.args)
	}
	return nil
}

// wrongFlag says which flag is meant by one that is not known.
func (k *call) wrongFlag(err error) error {
	name, unknown := strings.CutPrefix(err.Error(), "flag provided but not defined: -")
	if !unknown {
		return usageFailure(err.Error(), "`postern %s --help` lists the flags", k.command.name)
	}
	var known []string
	k.flags.VisitAll(func(f *flag.Flag) { known = append(known, "--"+f.Name) })
	return usageFailure(fmt.Sprintf("%s has no flag --%s", k.command.name, strings.TrimPrefix(name, "-")), "%s",
		strictyaml.DidYouMean("--"+strings.TrimPrefix(name, "-"), known))
}

// action is the first argument of a command that has several.
func (k *call) action(known ...string) (string, error) {
	if slices.Contains(known, k.arg(0)) {
		return k.arg(0), nil
	}
	return "", usageFailure(fmt.Sprintf("there is no %s %s", k.command.name, k.arg(0)), "%s", strictyaml.DidYouMean(k.arg(0), known))
}

func usageFailure(what, remedy string, args ...any) error {
	return &agent.Failure{Class: agent.Usage, What: what, Remedy: fmt.Sprintf(remedy, args...)}
}

// help writes what a command is, and its flags.
func (k *call) help(w io.Writer) {
	fmt.Fprintf(w, "usage: %s\n\n%s\n", strings.TrimSpace("postern "+k.command.name+" "+k.command.args), page.Wrap(k.command.short, "", ""))
	var left, right []string
	k.flags.VisitAll(func(f *flag.Flag) {
		value, text := flag.UnquoteUsage(f)
		if f.DefValue != "" && f.DefValue != "false" && f.DefValue != "0" {
			text += " (default " + f.DefValue + ")"
		}
		left, right = append(left, strings.TrimSpace("--"+f.Name+" "+value)), append(right, text)
	})
	explained(w, left, right)
}

// explained writes words and what each means, in lines of 80 characters. A long
// one has a line of its own.
func explained(w io.Writer, left, right []string) {
	const most = 24
	width := 6
	for _, l := range left {
		if n := utf8.RuneCountInString(l); n <= most {
			width = max(width, n)
		}
	}
	indent := strings.Repeat(" ", width+4)
	for i, l := range left {
		if n := utf8.RuneCountInString(l); n <= width {
			l += strings.Repeat(" ", width-n) + "  "
		} else {
			l += "\n" + indent
		}
		fmt.Fprint(w, "  "+l+strings.TrimLeft(page.Wrap(right[i], indent, indent), " "))
	}
}

// arg is the n-th argument, or "".
func (k *call) arg(n int) string {
	if n < len(k.args) {
		return k.args[n]
	}
	return ""
}

func usage(w io.Writer) {
	fmt.Fprintln(w, "Postern lets measure extracts out of a clinic as far as consent, law and\nagreement allow.\n\nusage: postern COMMAND [flags]")
	listCommands(w, commands)
	fmt.Fprintln(w, "\n--config FILE (default postern.yaml) names the configuration, --json answers as\nJSON; COMMAND --help says more.")
}

func listCommands(w io.Writer, list []command) {
	var left, right []string
	for _, c := range list {
		left, right = append(left, strings.TrimSpace(c.name+" "+c.args)), append(right, c.short)
	}
	explained(w, left, right)
}
