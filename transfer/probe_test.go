package transfer

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/posternhealth/postern/transfer/sftptest"
)

// A probe says what OpenSSH is known to do, and leaves nothing.
func TestProbe(t *testing.T) {
	c, root := startSSHD(t)
	inbox := filepath.Join(root, "inbox")
	d := dial(t, c)
	plan, err := d.Probe(context.Background(), nil)
	must(t, err)
	for _, a := range plan.Abilities {
		if a.Allowed == (a.Name == canCheckFile) {
			t.Errorf("%+v", a)
		}
	}
	if plan.Best() != HashVerified || len(plan.Left) > 0 || plan.Ahead > 3600 || plan.Ahead < -3600 || plan.Where != c.User+"@"+c.Address+":"+c.Folder {
		t.Errorf("%+v", plan)
	}
	sameFiles(t, inbox, nil)

	again, err := dial(t, c).Probe(context.Background(), &plan)
	must(t, err)
	if !again.Probed.Equal(plan.Probed) {
		t.Error("a known server was probed again")
	}
	for what, edit := range map[string]func(*Plan){
		"version": func(p *Plan) { p.Server = "SSH-2.0-OpenSSH_1.0" }, "host key": func(p *Plan) { p.HostKey = "SHA256:" },
		"folder": func(p *Plan) { p.Where = "elsewhere" }, "nothing": func(p *Plan) { p.Probed = time.Time{} },
	} {
		other := plan
		edit(&other)
		if anew, err := dial(t, c).Probe(context.Background(), &other); err != nil || anew.Probed.Equal(plan.Probed) || anew.Probed.IsZero() {
			t.Errorf("another %s: not probed anew, %v", what, err)
		}
	}
}

// What a probe left that died is removed by a delivery; that of one who may
// still be at work is not, and nothing else is.
func TestProbeRemovesOldOnes(t *testing.T) {
	server, c := mailbox(t, sftptest.Options{})
	inbox := filepath.Join(server.Root, "inbox")
	for name, age := range map[string]time.Duration{"." + probeName + "old.part": 2 * time.Hour, "." + probeName + "new.part": 0, "theirs.csv": 1000 * time.Hour} {
		path := filepath.Join(inbox, name)
		must(t, os.WriteFile(path, nil, 0o644))
		must(t, os.Chtimes(path, time.Now().Add(-age), time.Now().Add(-age)))
	}
	_, err := dial(t, c).Deliver(context.Background(), bigDrop(t, 1), quiet)
	must(t, err)
	entries, err := os.ReadDir(inbox)
	must(t, err)
	if len(entries) != 4 || entries[0].Name() != "."+probeName+"new.part" {
		t.Errorf("there are %v", entries)
	}
}

// A probe that is cut short knows nothing, and says so.
func TestProbeCutShort(t *testing.T) {
	_, c := mailbox(t, sftptest.Options{CutAfter: 10})
	d := dial(t, c)
	if plan, err := d.Probe(context.Background(), nil); !errors.Is(err, ErrDestination) || !plan.Probed.IsZero() {
		t.Errorf("gave %+v, %v", plan, err)
	}
	_, c = mailbox(t, sftptest.Options{Refuse: []string{"Put"}})
	if _, err := dial(t, c).Probe(context.Background(), nil); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "postern doctor") {
		t.Errorf("gave %v", err)
	}
}

// A mailbox that renames nothing gets files under their own names. A part that
// an attempt left is replaced, a whole file is left alone, and another's file
// stays.
func TestDeliverWithoutRename(t *testing.T) {
	refuse := []string{"Rename", "PosixRename"}
	for name, more := range map[string][]string{"sees all": nil, "cannot read": {"Get"}, "cannot remove": {"Remove"}, "sees nothing": {"Get", "List", "Lstat", "Stat"}} {
		t.Run(name, func(t *testing.T) {
			server, c := mailbox(t, sftptest.Options{Refuse: append(more, refuse...), CutAfter: 1 << 20})
			files := bigDrop(t, 3<<20)
			inbox := filepath.Join(server.Root, "inbox")
			_, err := dial(t, c).Deliver(context.Background(), files, quiet)
			if !errors.Is(err, ErrDestination) || !strings.Contains(err.Error(), "a part of "+files[0].Name+" may stand under its name") {
				t.Fatalf("the cut: %v", err)
			}
			if _, err := os.Stat(filepath.Join(inbox, files[1].Name)); !errors.Is(err, fs.ErrNotExist) {
				t.Fatalf(".done came before the rest: %v", err)
			}
			evidence, err := dial(t, c).Deliver(context.Background(), files, quiet)
			must(t, err)
			removeProbes(t, inbox)
			sameFiles(t, inbox, files)
			if evidence.State != evidence.Plan.Best() || evidence.Files[0].Already {
				t.Errorf("%+v", evidence)
			}
		})
	}
	server, c := mailbox(t, sftptest.Options{Refuse: refuse})
	files := bigDrop(t, 1<<10)
	theirs := filepath.Join(server.Root, "inbox", files[0].Name)
	must(t, os.WriteFile(theirs, make([]byte, 2<<10), 0o644))
	if _, err := dial(t, c).Deliver(context.Background(), files, quiet); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a longer file of that name: %v", err)
	}
	if _, err := dial(t, c).Deliver(context.Background(), files[:1], quiet); err == nil || !strings.Contains(err.Error(), "has no .done") {
		t.Errorf("without .done: %v", err)
	}
	// A part of .done closes nothing.
	must(t, os.WriteFile(theirs, make([]byte, 5), 0o644))
	must(t, os.WriteFile(filepath.Join(server.Root, "inbox", files[1].Name), nil, 0o644))
	removed, err := dial(t, c).Withdraw(context.Background(), files)
	if err != nil || len(removed) != 2 || removed[0] != files[1].Name {
		t.Errorf("withdrew %v, %v", removed, err)
	}
}

func removeProbes(t testing.TB, inbox string) {
	left, err := filepath.Glob(filepath.Join(inbox, "."+probeName+"*"))
	must(t, err)
	for _, path := range left {
		must(t, os.Remove(path))
	}
}
