package agent_test

import (
	"context"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/hashicorp/go-hclog"

	"github.com/posternhealth/postern/agent"
	"github.com/posternhealth/postern/internal/synthetic"
	"github.com/posternhealth/postern/transfer"
)

// block gives a page's block of that name.
func block(t *testing.T, page, name string) string {
	t.Helper()
	text, err := os.ReadFile("../docs/" + page)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "```yaml "+name+"\n")
	inner, _, ended := strings.Cut(rest, "```")
	if !found || !ended {
		t.Fatalf("%s has no block %s", page, name)
	}
	return inner
}

// The examples of docs/bare.md and docs/destinations.md are a configuration, and
// check warns of a kind of server that nobody has tried; what does not fit is
// refused by its place.
func TestPageOfBare(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	text := h.read("postern.yaml")
	from := strings.Index(text, "  acme-health-plan:\n")
	to := strings.Index(text, "  valley-hie:\n")
	bare := strings.TrimPrefix(block(t, "bare.md", "bare"), "recipients:\n")
	plain, _, _ := strings.Cut(bare, "    destination:\n")
	write := func(recipient string) {
		recipient = strings.NewReplacer("mft.acme.example", "127.0.0.1", "ssh-ed25519 AAAA…", h.recipient(scores).HostKey).Replace(recipient)
		h.write("postern.yaml", text[:from]+recipient+text[to:])
	}
	for _, recipient := range []string{bare, plain + block(t, "destinations.md", "destination")} {
		write(recipient)
		config, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml"))
		if err != nil || config.Recipients[synthetic.HealthPlan].Bare.Environment.Production != "PROD" {
			t.Error(err)
		}
	}
	good := plain + block(t, "destinations.md", "destination")
	for _, c := range []struct{ old, new, why string }{
		{"sterling}", "sterlin}", `"sterlin" is no value of profile (did you mean "sterling"?)`},
		{"read_back: no", "read_back: seldom", `"seldom" is no value of read_back`},
		{"{name}.filepart", "in/{name}", `recipients.acme-health-plan.destination.temporary_name: "in/{name}" is not {name} with`},
	} {
		write(strings.Replace(good, c.old, c.new, 1))
		if _, err := agent.LoadConfig(filepath.Join(h.dir, "postern.yaml")); err == nil || !strings.Contains(err.Error(), c.why) {
			t.Errorf("%s: %v", c.new, err)
		}
	}
}

// A file that the recipient cannot take is no drop's.
func TestFileThatIsTooLarge(t *testing.T) {
	h := build(t, synthetic.Options{Patients: 30})
	h.bare("scores_{sequence}.age", "reuse: never")
	good := h.read("postern.yaml")
	acme := strings.Index(good, "\n  acme-health-plan:\n")
	at := acme + strings.Index(good[acme:], "    destination:\n") + len("    destination:\n")
	limit := func(text string) error {
		h.write("postern.yaml", good[:at]+"      max_file: "+text+"\n"+good[at:])
		_, err := agent.CheckFile(filepath.Join(h.dir, "postern.yaml"))
		return err
	}
	for _, text := range []string{"5", "0 MB", "5 MiB", "-1 GB", "1.5 GB"} {
		if err := limit(text); err == nil || !strings.Contains(err.Error(), "recipients.acme-health-plan.destination.max_file") {
			t.Errorf("%s: %v", text, err)
		}
	}
	h.must(limit("1 KB"))
	h.open(hclog.NewNullLogger())
	h.approve(scores)
	_, err := h.agent.Run(context.Background(), scores, agent.RunOptions{})
	if classOf(err) != agent.Configuration || !strings.Contains(err.Error(), "destination.max_file: scores_1.age has ") || h.state(scores, 1) != "" {
		t.Errorf("%v, the drop is %q", err, h.state(scores, 1))
	}
	h.must(limit("1 MB"))
	h.open(hclog.NewNullLogger())
	h.run(scores, agent.RunOptions{})
	if h.state(scores, 1) != "sealed" {
		t.Error("it was refused by another limit")
	}
}

// Each profile can be written in the configuration, and none else.
func TestProfilesOfTheConfiguration(t *testing.T) {
	field, _ := reflect.TypeFor[agent.SFTPConfig]().FieldByName("Profile")
	var names []string
	for _, p := range transfer.Profiles {
		names = append(names, p.Name)
	}
	if words := strings.Split(field.Tag.Get("words"), "|"); !slices.Equal(words, names) {
		t.Errorf("the configuration knows %v, the profiles are %v", words, names)
	}
}
