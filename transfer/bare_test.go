package transfer

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

func readAll(t *testing.T, from io.Reader, err error) string {
	t.Helper()
	must(t, err)
	text, err := io.ReadAll(from)
	must(t, err)
	return string(text)
}

// named gives the one file of each dataset its name.
func named(names map[string]string) func(string, int64) (string, error) {
	return func(dataset string, _ int64) (string, error) { return names[dataset], nil }
}

// The recipient's file holds the rows by the agreed name and compression; archive
// and statement are as of a drop, and a receiver of drops refuses the statement.
func TestBareFiles(t *testing.T) {
	w := newWorld(t)
	for compression, open := range map[string]func(text []byte) string{
		Uncompressed: func(text []byte) string { return string(text) },
		Gzip: func(text []byte) string {
			r, err := gzip.NewReader(bytes.NewReader(text))
			return readAll(t, r, err)
		},
		Zip: func(text []byte) string {
			r, err := zip.NewReader(bytes.NewReader(text), int64(len(text)))
			must(t, err)
			if len(r.File) != 1 || r.File[0].Name != "CV_scores.csv" || r.File[0].Modified.Year() > 1980 {
				t.Errorf("the archive holds %+v", r.File)
			}
			inner, err := r.File[0].Open()
			return readAll(t, inner, err)
		},
		Zstd: func(text []byte) string { return string(unpack(t, text)) },
	} {
		spec := w.spec(t, 3, sumOf(nil))
		spec.Bare = &Bare{Compression: compression, Name: named(map[string]string{"scores": "CV_scores.csv.zip.age", ControlFile: "CV_control.txt"})}
		b, err := NewDrop(spec)
		must(t, err)
		for _, refused := range []PartInfo{{Dataset: "Observation", Format: NDJSON}, {Dataset: "scores", Format: CSV, Columns: columns, Part2: true}} {
			if _, err := b.Part(refused); err == nil {
				t.Errorf("%+v was begun", refused)
			}
		}
		for _, p := range []PartInfo{{Dataset: "scores", Format: CSV, Columns: columns}, {Dataset: ControlFile, Format: CSV, Columns: columns}} {
			part, err := b.Part(p)
			must(t, err)
			if want := openedName(map[bool]string{true: "CV_scores.csv.zip.age", false: "CV_control.txt"}[p.Dataset == "scores"]); part.File() != want {
				t.Errorf("a control file would call it %s, not %s", part.File(), want)
			}
			_, err = part.Write([]byte(scoresCSV))
			must(t, err)
			must(t, part.Close(3, 3))
		}
		if _, err := b.Part(PartInfo{Dataset: "scores", Format: CSV, Columns: columns}); err == nil {
			t.Error("a second file of one dataset was begun")
		}
		sealed, err := b.Seal(usualBook())
		must(t, err)
		sent, side := SplitBare(Deliverables(spec.Dir, sealed.Files))
		var names []string
		for _, f := range append(slices.Clone(sent), side...) {
			names = append(names, f.Name)
		}
		if want := "CV_scores.csv.zip.age CV_control.txt cv.x7.000003.book.json.age cv.x7.000003.SHA256SUMS cv.x7.000003.manifest.json cv.x7.000003.manifest.json.sig cv.x7.000003.done"; strings.Join(names, " ") != want {
			t.Errorf("files are %v", names)
		}
		if got := slices.Sorted(maps.Keys(sealed.Outward())); !slices.Equal(got, []string{"CV_control.txt", "CV_scores.csv.zip.age"}) {
			t.Errorf("what is sent is %v", got)
		}
		if got := open(decryptFile(t, sent[0].Path, w.payer.age)); got != scoresCSV {
			t.Errorf("%s: the recipient reads %q", compression, got)
		}
		kept := filepath.Join(spec.Dir, ArchiveFolder, "cv.x7.000003.001.zst.age")
		if got := unpack(t, decryptFile(t, kept, w.archive.age)); string(got) != scoresCSV {
			t.Errorf("%s: the archive holds %q", compression, got)
		}
		text, err := os.ReadFile(filepath.Join(spec.Dir, "cv.x7.000003.manifest.json"))
		must(t, err)
		m, err := ParseManifest(text)
		must(t, err)
		if m.Files[0].Name != sent[0].Name || m.Files[0].SHA256 != sent[0].SHA256 || m.Format != BareFormat {
			t.Errorf("the manifest states %+v", m)
		}
		inbox := copyDrop(t, spec.Dir, sealed)
		if got := receiveOne(t, w.receiver(t), inbox); got.Fault == nil || got.Fault.Class != FormatFault {
			t.Errorf("the receiver of drops: %s %v", got.Status, got.Fault)
		}
	}
}

// Stock zstd opens a file, which holds one frame: padding would be no part of it.
func TestBareFileForStockZstd(t *testing.T) {
	peer(t, "zstd")
	w := newWorld(t)
	spec := w.spec(t, 1, "")
	spec.Bare = &Bare{Compression: Zstd, Name: named(map[string]string{"scores": "CV_scores.csv.zst.age"})}
	b, err := NewDrop(spec)
	must(t, err)
	p, err := b.Part(PartInfo{Dataset: "scores", Format: CSV, Columns: columns})
	must(t, err)
	_, err = p.Write([]byte(scoresCSV))
	must(t, err)
	must(t, p.Close(3, 3))
	if p.File() != "CV_scores.csv" {
		t.Errorf("a control file would call it %s", p.File())
	}
	sealed, err := b.Seal(usualBook())
	must(t, err)
	path := filepath.Join(t.TempDir(), "CV_scores.csv.zst")
	must(t, os.WriteFile(path, decryptFile(t, filepath.Join(spec.Dir, sealed.Files[0].Name), w.payer.age), 0o600))
	frames, err := exec.Command("zstd", "--list", "-v", path).Output()
	must(t, err)
	if !regexp.MustCompile(`(?m)^# Zstandard Frames: 1$`).Match(frames) || bytes.Contains(frames, []byte("Skippable")) {
		t.Errorf("the file holds other frames than one:\n%s", frames)
	}
	must(t, exec.Command("zstd", "--quiet", "-d", path).Run())
	text, err := os.ReadFile(strings.TrimSuffix(path, ".zst"))
	if err != nil || string(text) != scoresCSV {
		t.Errorf("zstd gives %q, %v", text, err)
	}
}

// A name can neither leave its folder nor be one of the side files.
func TestBareNamesInManifests(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"../scores.pgp", ".scores.pgp", "a/b", "cv.x7.000001.001.zst.age", "", "a b"} {
		spec := w.spec(t, 1, "")
		spec.Bare = &Bare{Compression: Uncompressed, Name: named(map[string]string{"scores": name})}
		b, err := NewDrop(spec)
		must(t, err)
		if part, err := b.Part(PartInfo{Dataset: "scores", Format: CSV, Columns: columns}); err == nil {
			_, err = part.Write([]byte(emptyCSV))
			must(t, err)
			if err := part.Close(0, 0); err == nil {
				if _, err := b.Seal(usualBook()); err == nil {
					t.Errorf("sealed as %q", name)
				}
			}
		}
	}
}

func TestNameTemplates(t *testing.T) {
	values := NameValues{Sender: "CV01", Dataset: "PHQ", Environment: "T", Date: time.Date(2026, 7, 5, 23, 0, 0, 0, time.UTC), Sequence: 42, Version: 3}
	for template, want := range map[string]string{
		"{sender}_{dataset}_{date}.txt.pgp":                         "CV01_PHQ_20260705.txt.pgp",
		"{dataset}.{environment}.{year}-{month}-{day}.v{version:2}": "PHQ.T.2026-07-05.v03",
		"BH{sequence:6}.pgp":                                        "BH000042.pgp",
		"BH{sequence:1}":                                            "BH42",
		"plain":                                                     "plain",
	} {
		form, err := ParseNameTemplate(template)
		must(t, err)
		if got, err := form.Name(values); err != nil || got != want {
			t.Errorf("%s gives %q, %v", template, got, err)
		}
	}
	form, err := ParseNameTemplate("{sequence}.{version:2}.{part:6}.{day}")
	must(t, err)
	values.Longest = true
	if got, err := form.Name(values); err != nil || got != "9999.99.999999.05" {
		t.Errorf("the longest name is %q, %v", got, err)
	}
	values.Longest = false
	for _, template := range []string{"{measure}", "{date:8}", "{sequence:12}", "{sequence", "a}b", "{}", "{Sender}"} {
		if _, err := ParseNameTemplate(template); err == nil {
			t.Errorf("%s was taken", template)
		}
	}
	for _, template := range []string{"{environment}/{dataset}", ".{dataset}", strings.Repeat("x", 201), "a b"} {
		form, err := ParseNameTemplate(template)
		must(t, err)
		if got, err := form.Name(values); err == nil {
			t.Errorf("%s gives %q", template, got)
		}
	}
}

// A name that was used before is taken while the earlier file is there, even one of
// the same size; what is there stays, and withdrawing takes only what is ours.
func TestReusedNames(t *testing.T) {
	for name, limits := range map[string]string{"all allowed": "", "cannot read": "-P read", "no rename but posix-rename": "-P rename", "sees nothing": "-P read,stat,lstat,fstat,opendir"} {
		t.Run(name, func(t *testing.T) {
			c, root := startSSHD(t, "ForceCommand internal-sftp "+limits)
			inbox := filepath.Join(root, "inbox")
			files := bigDrop(t, 1<<10)[:1]
			files[0].Reused = true
			_, err := dial(t, c).Probe(context.Background(), nil)
			must(t, err)
			deliver := func() error {
				_, err := dial(t, c).Deliver(context.Background(), files, quiet)
				return err
			}
			theirs := make([]byte, files[0].Size)
			must(t, os.WriteFile(filepath.Join(inbox, files[0].Name), theirs, 0o644))
			err = deliver()
			if name == "sees nothing" {
				if err == nil || !strings.Contains(err.Error(), "nobody can see here whether that file is still there") {
					t.Errorf("with the earlier file in place: %v", err)
				}
				return
			}
			if !errors.Is(err, fs.ErrExist) {
				t.Errorf("with the earlier file in place: %v", err)
			}
			removed, err := dial(t, c).Withdraw(context.Background(), files)
			kept, lost := os.ReadFile(filepath.Join(inbox, files[0].Name))
			if err != nil || lost != nil || len(removed) > 0 || !bytes.Equal(kept, theirs) {
				t.Errorf("withdrew %v of theirs: %v, %v", removed, err, lost)
			}
			must(t, os.Remove(filepath.Join(inbox, files[0].Name)))
			must(t, deliver())
			sameFiles(t, inbox, files)
			_, err = dial(t, c).Withdraw(context.Background(), files)
			if ours := name != "cannot read"; errors.Is(err, ErrDelivered) != ours {
				t.Errorf("with ours in place: %v", err)
			}
			sameFiles(t, inbox, files)
		})
	}
}

// Markers are empty, one for each name that the files give, after the files and before
// what stays; the statement tells of them, and of nothing else that is empty.
func TestMarkers(t *testing.T) {
	w := newWorld(t)
	seal := func(marker func(string, int64) (string, error)) (DropSpec, *Sealed, error) {
		spec := w.spec(t, 3, sumOf(nil))
		spec.Bare = &Bare{Compression: Uncompressed, Marker: marker, Name: func(dataset string, part int64) (string, error) { return fmt.Sprintf("%s.%d", dataset, part), nil }}
		b, err := NewDrop(spec)
		must(t, err)
		for _, dataset := range []string{"scores", "scores", "visits"} {
			p, err := b.Part(PartInfo{Dataset: dataset, Format: CSV, Columns: columns})
			must(t, err)
			_, err = p.Write([]byte(emptyCSV))
			must(t, err)
			must(t, p.Close(0, 0))
		}
		sealed, err := b.Seal(usualBook())
		return spec, sealed, err
	}
	for want, marker := range map[string]func(string, int64) (string, error){
		"scores.1 scores.2 visits.1 scores.1.done scores.2.done visits.1.done": func(dataset string, part int64) (string, error) {
			return fmt.Sprintf("%s.%d.done", dataset, part), nil
		},
		"scores.1 scores.2 visits.1 scores.go visits.go": func(dataset string, _ int64) (string, error) { return dataset + ".go", nil },
		"scores.1 scores.2 visits.1 READY":               func(string, int64) (string, error) { return "READY", nil },
	} {
		spec, sealed, err := seal(marker)
		must(t, err)
		files := Deliverables(spec.Dir, sealed.Files)
		sent, _ := SplitBare(files)
		var names []string
		for i, f := range sent {
			names = append(names, f.Name)
			if info, err := os.Stat(f.Path); err != nil || f.Marker() != (i > 2) || (info.Size() == 0) != f.Marker() || sealed.Outward()[f.Name] != f.SHA256 {
				t.Errorf("%s: %v, %+v", want, err, f)
			}
		}
		if strings.Join(names, " ") != want {
			t.Errorf("files are %v, not %s", names, want)
		}
		text, err := os.ReadFile(filepath.Join(spec.Dir, "cv.x7.000003.manifest.json"))
		must(t, err)
		m, err := ParseManifest(text)
		must(t, err)
		for i, f := range sent {
			if (m.Files[i] != SealedFile{f.Name, f.SHA256, f.Size}) {
				t.Errorf("the manifest states %+v of %s", m.Files[i], f.Name)
			}
		}
		for what, edit := range map[string]func(f []SealedFile){
			"a file after a marker":           func(f []SealedFile) { f[2], f[3] = f[3], f[2] },
			"an empty file that is no marker": func(f []SealedFile) { f[3].SHA256 = f[0].SHA256 },
			"a drop":                          func([]SealedFile) { m.Format = ManifestFormat },
		} {
			was := *m
			m.Files = slices.Clone(m.Files)
			edit(m.Files)
			text, err := encode(m)
			must(t, err)
			if _, err := ParseManifest(text); err == nil {
				t.Errorf("%s was taken", what)
			}
			*m = was
		}
	}
	for _, name := range []string{"visits.1", "../READY", "", "cv.x7.000003.done"} {
		if _, _, err := seal(func(string, int64) (string, error) { return name, nil }); err == nil {
			t.Errorf("a marker is called %q", name)
		}
	}
}

// Nothing is sent while an earlier marker has the name of a drop's; a marker that
// may be another's is not taken for ours, nor away.
func TestMarkersAtServers(t *testing.T) {
	for name, limits := range map[string]string{"all allowed": "", "cannot read": "-P read", "no rename but posix-rename": "-P rename", "no fsync": "-P fsync@openssh.com"} {
		t.Run(name, func(t *testing.T) {
			c, root := startSSHD(t, "ForceCommand internal-sftp "+limits)
			inbox := filepath.Join(root, "inbox")
			empty := filepath.Join(t.TempDir(), "READY.done")
			must(t, os.WriteFile(empty, nil, 0o600))
			files := append(bigDrop(t, 1<<10)[:1], File{Name: "READY.done", Path: empty, SHA256: sumOf(nil), Reused: true, Later: true})
			there := func() (names string) {
				entries, err := os.ReadDir(inbox)
				must(t, err)
				for _, e := range entries {
					names += e.Name() + " "
				}
				return names
			}
			deliver := func() ([]Event, error) {
				e, err := dial(t, c).Deliver(context.Background(), files, quiet)
				return e.Files, err
			}
			must(t, os.WriteFile(filepath.Join(inbox, "READY.done"), nil, 0o644))
			if _, err := deliver(); !errors.Is(err, fs.ErrExist) || there() != "READY.done " {
				t.Errorf("with an earlier marker in place: %v, there is %s", err, there())
			}
			if removed, err := dial(t, c).Withdraw(context.Background(), files); err != nil || len(removed) > 0 || there() != "READY.done " {
				t.Errorf("withdrew %v: %v", removed, err)
			}
			must(t, os.Remove(filepath.Join(inbox, "READY.done")))
			if _, err := deliver(); err != nil || there() != files[0].Name+" " {
				t.Errorf("all but the marker: %v, there is %s", err, there())
			}
			files[1].Reused, files[1].Later = false, false
			for again := range 2 {
				if events, err := deliver(); err != nil || len(events) != 2 || events[1].Already != (again > 0) || events[1].State < SizeVerified {
					t.Errorf("with the marker: %v, %+v", err, events)
				}
			}
			sameFiles(t, inbox, files)
			if _, err := dial(t, c).Withdraw(context.Background(), files); !errors.Is(err, ErrDelivered) {
				t.Errorf("withdrawn with its marker in place: %v", err)
			}
			must(t, os.Remove(filepath.Join(inbox, "READY.done")))
			if _, err := dial(t, c).Withdraw(context.Background(), files); err != nil || there() != "" {
				t.Errorf("withdrawn before its marker: %v, there is %s", err, there())
			}
		})
	}
	c, root := startSSHD(t, "ForceCommand internal-sftp -P rename,posix-rename")
	empty := filepath.Join(t.TempDir(), "READY.done")
	must(t, os.WriteFile(empty, nil, 0o600))
	_, err := dial(t, c).Deliver(context.Background(), append(bigDrop(t, 1<<10)[:1], File{Name: "READY.done", Path: empty, SHA256: sumOf(nil)}), quiet)
	entries, lost := os.ReadDir(filepath.Join(root, "inbox"))
	if err == nil || !strings.Contains(err.Error(), "it renames nothing") || lost != nil || len(entries) > 0 {
		t.Errorf("a marker is taken for a .done: %v, %v", err, entries)
	}
}
