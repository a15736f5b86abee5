package transfer

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/transfer/sftptest"
)

// Servers that are called tested are as their profiles have them, when nothing is
// taken from the account; and what is taken is told, and followed.
func TestProfilesOfTestedServers(t *testing.T) {
	for name, start := range map[string]func() (SFTPConfig, string){
		"openssh": func() (SFTPConfig, string) { return startSSHD(t) },
		"proftpd": func() (SFTPConfig, string) { return proftpd(t, "") },
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := start()
			plan, err := dial(t, c).Probe(context.Background(), nil)
			must(t, err)
			p := ProfileOf(name)
			if unlike := p.Unlike(&plan); p.Tested == "" || len(unlike) > 0 || len(p.Allows) < 8 {
				t.Errorf("%q, %v: %+v", p.Tested, unlike, plan)
			}
		})
	}
	_, c := mailbox(t, sftptest.Options{Refuse: []string{"Stat"}})
	plan, err := dial(t, c).Probe(context.Background(), nil)
	must(t, err)
	want := []string{"write-only-mailbox, from documentation: nobody has tried it with Postern",
		"list: profile write-only-mailbox has it as refused, this server was seen to have it allowed, and is used so"}
	p := ProfileOf("write-only-mailbox")
	if got := append([]string{p.Known()}, p.Unlike(&plan)...); !slices.Equal(got[:2], want) || plan.Best() != HashVerified {
		t.Errorf("%q, %s", got, plan.Best())
	}
}

// A mailbox whose files are used up by reading keeps them where nobody reads them
// back; the rule stands in the plan, so a plan of before is not followed.
func TestReadBackNotWanted(t *testing.T) {
	server, c := mailbox(t, sftptest.Options{ReadOnce: true})
	files := bigDrop(t, 1<<10)
	plan, err := dial(t, c).Probe(context.Background(), nil)
	must(t, err)
	if plan.Allows(canRead) || plan.Allows(canRename) {
		t.Errorf("the probe's file was still there: %+v", plan)
	}
	d := dial(t, c)
	d.Obey(Rules{NoReadBack: true})
	unread, err := d.Probe(context.Background(), &plan)
	must(t, err)
	if unread.Allows(canRead) || !unread.Allows(canRename) || slices.ContainsFunc(unread.Advice(), func(a string) bool { return strings.HasPrefix(a, "read") }) {
		t.Errorf("%+v: %q", unread, unread.Advice())
	}
	evidence, err := d.Deliver(context.Background(), files, quiet)
	must(t, err)
	sameFiles(t, filepath.Join(server.Root, "inbox"), files)
	if evidence.State != SizeVerified {
		t.Errorf("it is %s", evidence.State)
	}
}

// Files on their way, and the probe's, have the names that the recipient ignores;
// what an attempt left is known by them.
func TestTemporaryNames(t *testing.T) {
	rules := Rules{Temporary: "tmp_{name}.filepart"}
	server, c := mailbox(t, sftptest.Options{CutAfter: 1 << 20})
	inbox := filepath.Join(server.Root, "inbox")
	must(t, os.WriteFile(filepath.Join(inbox, "theirs.filepart"), nil, 0o644))
	files := bigDrop(t, 3<<20)
	deliver := func() error {
		d := dial(t, c)
		d.Obey(rules)
		_, err := d.Deliver(context.Background(), files, quiet)
		return err
	}
	if err := deliver(); err == nil {
		t.Fatal("the line was not cut")
	}
	entries, err := os.ReadDir(inbox)
	must(t, err)
	if len(entries) != 2 || !strings.HasPrefix(entries[1].Name(), "tmp_"+files[0].Name+".") || !strings.HasSuffix(entries[1].Name(), ".filepart") {
		t.Errorf("on their way: %v", entries)
	}
	must(t, deliver())
	must(t, os.Remove(filepath.Join(inbox, "theirs.filepart")))
	sameFiles(t, inbox, files)

	for _, form := range []string{"", "{name}", "{Name}.tmp", "{name}/a", "../{name}", "{name}.{name}", "-{name}"} {
		if CheckTemporary(form) == nil {
			t.Errorf("%q was taken", form)
		}
	}
	for _, form := range []string{"{name}.tmp", ".{name}", "in.{name}_part"} {
		must(t, CheckTemporary(form))
	}
}

// The table of docs/destinations.md is that of the program.
func TestProfilesPage(t *testing.T) {
	text := "| profile | what is known | source |\n| --- | --- | --- |\n"
	for _, p := range Profiles {
		known := "from documentation"
		if p.Tested != "" {
			known = "tested by `" + p.Tested + "`"
		}
		text += fmt.Sprintf("| `%s` | %s | |\n", p.Name, known)
		for _, f := range p.Facts {
			if f.What == "" || !strings.ContainsAny(f.Source, "./(") {
				t.Errorf("%s: a fact without its source: %+v", p.Name, f)
			}
			text += "| | " + f.What + " | " + f.Source + " |\n"
		}
	}
	file := filepath.Join("..", "docs", "destinations.md")
	page, err := os.ReadFile(file)
	must(t, err)
	before, rest, found := strings.Cut(string(page), "<!-- by TestProfilesPage -->\n")
	kept, after, ends := strings.Cut(rest, "<!-- end -->")
	switch {
	case !found || !ends:
		t.Fatalf("%s has no place for them", file)
	case os.Getenv("UPDATE_GOLDEN") != "":
		must(t, os.WriteFile(file, []byte(before+"<!-- by TestProfilesPage -->\n"+text+"<!-- end -->"+after), 0o644))
	case kept != text:
		t.Errorf("%s tells otherwise; UPDATE_GOLDEN=1 writes it anew", file)
	}
}
