package main_test

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// fileStamp tells whether a file is the one that was looked at before.
type fileStamp struct {
	size int64
	when time.Time
	sum  string
}

type sealedFile struct {
	Name   string
	SHA256 string
	Size   int64
}

// drop is a row of the agent's table of deliveries.
type drop struct {
	exchange, dir, manifest, state string
	number, released               int64
	files                          []sealedFile
	hasKey                         bool
}

var (
	finalName   = regexp.MustCompile(`^cv\.([a-z0-9]+)\.([0-9]{6})\.[A-Za-z0-9.]+$`)
	privateName = regexp.MustCompile(`^\..+\.part$`)
)

// snapshot copies the database as a killed agent left it and opens the copy,
// so that the agent itself meets the write-ahead log at its next start.
func (k *killing) snapshot() *sql.DB {
	dir, err := os.MkdirTemp(k.t.TempDir(), "db")
	k.ok(err)
	for _, name := range []string{"postern.db", "postern.db-wal"} {
		text, err := os.ReadFile(filepath.Join(k.clinic, "state", name))
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, name), text, 0o600)
		} else if os.IsNotExist(err) && name != "postern.db" {
			err = nil
		}
		k.ok(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "postern.db"))
	k.ok(err)
	return db
}

func (k *killing) number(query string, args ...any) (n int64) {
	k.t.Helper()
	db := k.snapshot()
	defer db.Close()
	k.ok(db.QueryRow(query, args...).Scan(&n))
	return n
}

func (k *killing) drops() (list []drop) {
	db := k.snapshot()
	defer db.Close()
	rows, err := db.Query(`SELECT exchange, number, dir, manifest, state, released, files, index_key IS NOT NULL FROM delivery ORDER BY exchange, number`)
	k.ok(err)
	defer rows.Close()
	for rows.Next() {
		var d drop
		var files string
		k.ok(rows.Scan(&d.exchange, &d.number, &d.dir, &d.manifest, &d.state, &d.released, &files, &d.hasKey))
		k.ok(json.Unmarshal([]byte(files), &d.files))
		list = append(list, d)
	}
	k.ok(rows.Err())
	return list
}

// checkEverything looks at both sides while no process of ours runs.
func (k *killing) checkEverything() {
	k.t.Helper()
	drops := k.drops()
	sealed := map[string]sealedFile{}
	next := map[string]int64{}
	for _, d := range drops {
		next[d.exchange]++
		if d.number != next[d.exchange] {
			k.t.Errorf("%s: %s has drop %d where %d is due", k.where, d.exchange, d.number, next[d.exchange])
		}
		for _, f := range d.files {
			sealed[f.Name] = f
			k.isWhole(filepath.Join(k.dropsDir(), d.dir, f.Name), f)
		}
	}
	for _, f := range k.flows {
		k.checkInbox(f, sealed)
		k.checkReceived(f)
	}
	k.checkClinic()
}

// isWhole holds a file against what was sealed; it must never change again.
func (k *killing) isWhole(path string, want sealedFile) {
	k.t.Helper()
	got := k.stamp(path)
	if got.size != want.Size || got.sum != want.SHA256 {
		k.t.Errorf("%s: %s is not what was sealed: %d of %d bytes", k.where, path, got.size, want.Size)
	}
}

// stamp hashes a file unless it was hashed before.
func (k *killing) stamp(path string) fileStamp {
	k.t.Helper()
	info, err := os.Stat(path)
	k.ok(err)
	known := k.whole[path]
	if known.size == info.Size() && known.when.Equal(info.ModTime()) {
		return known
	}
	text, err := os.ReadFile(path)
	k.ok(err)
	sum := sha256.Sum256(text)
	s := fileStamp{info.Size(), info.ModTime(), hex.EncodeToString(sum[:])}
	k.whole[path] = s
	return s
}

// checkInbox: what has a final name is whole and committed, `.done` is there
// only when everything else is, and no number has ever had two manifests.
func (k *killing) checkInbox(f flow, sealed map[string]sealedFile) {
	k.t.Helper()
	for _, path := range entries(f.inbox()) {
		name := filepath.Base(path)
		if privateName.MatchString(name) {
			continue
		}
		want, known := sealed[name]
		if !known || !finalName.MatchString(name) {
			k.t.Errorf("%s: the recipient has %s, which was never committed", k.where, name)
			continue
		}
		k.isWhole(path, want)
		base := name[:len("cv.x7.000001")]
		if strings.HasSuffix(name, ".manifest.json") {
			sum := k.stamp(path).sum
			if before := k.manifests[base]; before != "" && before != sum {
				k.t.Errorf("%s: %s has two manifests", k.where, base)
			}
			k.manifests[base] = sum
		}
		if strings.HasSuffix(name, ".done") {
			k.checkSums(f.inbox(), name)
			k.checkSums(f.inbox(), base+".SHA256SUMS")
		}
	}
}

// checkSums does what sha256sum -c does.
func (k *killing) checkSums(dir, list string) {
	k.t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, list))
	if err != nil {
		k.t.Errorf("%s: .done stands without %s", k.where, list)
		return
	}
	lines := 0
	for line := range strings.Lines(string(text)) {
		sum, name, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "  ")
		lines++
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil || k.stamp(filepath.Join(dir, name)).sum != sum {
			k.t.Errorf("%s: %s is not as %s states", k.where, name, list)
		}
	}
	if lines < 2 {
		k.t.Errorf("%s: %s lists %d files", k.where, list, lines)
	}
}

// checkReceived: a folder of plaintext has its name only when it is whole, so
// its files never change, whatever becomes of the receiver.
func (k *killing) checkReceived(f flow) {
	k.t.Helper()
	for _, dir := range entries(f.received()) {
		if strings.HasPrefix(filepath.Base(dir), ".") {
			continue
		}
		for _, path := range entries(dir) {
			before, seen := k.whole[path]
			if now := k.stamp(path); seen && now.sum != before.sum {
				k.t.Errorf("%s: %s has changed after it had its name", k.where, path)
			}
		}
	}
}

// checkClinic: every file of the state is of a kind that may be there, and
// none holds a planted value.
func (k *killing) checkClinic() {
	k.t.Helper()
	state := filepath.Join(k.clinic, "state")
	k.ok(filepath.WalkDir(state, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err != nil {
			return err
		}
		mark := fileStamp{size: info.Size(), when: info.ModTime(), sum: "searched"}
		inDatabase := strings.HasPrefix(e.Name(), "postern.db")
		if !inDatabase && k.searched[path] == mark {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		k.searched[path] = mark
		if !allowedKind(e.Name(), text) && !k.approvedCopy(path, text) {
			k.t.Errorf("%s: %s is of no kind that may be in the state folder", k.where, path)
		}
		k.searchText(path, text)
		return nil
	}))
}

// approvedCopy: what was approved is kept as it was: closures, and the clinic's
// own policies, texts and schemas.
func (k *killing) approvedCopy(path string, text []byte) bool {
	if !strings.HasPrefix(path, filepath.Join(k.clinic, "state", "approved")+string(filepath.Separator)) {
		return false
	}
	same := bytes.HasPrefix(text, []byte("postern closure/v1 of exchange "))
	k.eachFile(func(_ string, own []byte) { same = same || bytes.Equal(own, text) }, "policies", "schemas")
	return same
}

var beginnings = map[string]string{
	".zst.age": "age-encryption.org/v1\n", ".json.age": "age-encryption.org/v1\n",
	".manifest.json": "{", ".receipt.json": "{", ".sig": "-----BEGIN SSH SIGNATURE-----\n",
	"postern.db": "SQLite format 3\x00",
}

var sumLines = regexp.MustCompile(`^([0-9a-f]{64}  [A-Za-z0-9.]+\n)*$`)

// allowedKind knows what the state folder is made of. A killed agent may leave
// a beginning of it under a private name; of the spill, whose file has no name
// any more while it holds a byte, an empty file.
func allowedKind(name string, text []byte) bool {
	if privateName.MatchString(name) {
		name = strings.TrimSuffix(name, ".part")[1:]
		name = name[:strings.LastIndexByte(name, '.')]
	}
	switch {
	case name == "postern.db-wal", name == "postern.db-shm", strings.HasPrefix(name, "spill-"):
		return !strings.HasPrefix(name, "spill-") || len(text) == 0
	case strings.HasSuffix(name, ".SHA256SUMS"), strings.HasSuffix(name, ".done"):
		return sumLines.Match(text)
	}
	for suffix, beginning := range beginnings {
		if strings.HasSuffix(name, suffix) {
			n := min(len(beginning), len(text))
			return string(text[:n]) == beginning[:n]
		}
	}
	return false
}

// checkSettled: after a start that ended well nothing is left over.
func (k *killing) checkSettled() {
	k.t.Helper()
	known := map[string]bool{}
	for _, d := range k.drops() {
		known[d.dir] = true
		if d.hasKey || d.state == "sealed" || d.state == "uploading" {
			k.t.Errorf("%s: drop %d of %s is %s, or the key of its decision index is still there", k.where, d.number, d.exchange, d.state)
		}
	}
	for _, dir := range entries(k.dropsDir()) {
		if !known[filepath.Base(dir)] {
			k.t.Errorf("%s: %s is left of a drop that was never committed", k.where, dir)
		}
		if left, _ := filepath.Glob(filepath.Join(dir, "private", "*decision-index*")); len(left) > 0 {
			k.t.Errorf("%s: %s is left", k.where, left[0])
		}
	}
	for _, path := range entries(filepath.Join(k.clinic, "state", "scratch")) {
		k.t.Errorf("%s: %s is left", k.where, path)
	}
	for _, root := range []string{filepath.Join(k.clinic, "state"), k.flows[0].inbox(), k.flows[1].inbox()} {
		k.ok(filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
			// What a killed probe left is taken for another's at work, for an hour.
			if err == nil && privateName.MatchString(e.Name()) && !strings.HasPrefix(e.Name(), ".postern-probe.") {
				k.t.Errorf("%s: %s is left", k.where, path)
			}
			return err
		}))
	}
}

// recipientTidiesUp moves away what the recipient has received, as they do.
func (k *killing) recipientTidiesUp() {
	for _, f := range k.flows {
		taken := filepath.Join(f.recipient.Dir, "taken")
		k.ok(os.MkdirAll(taken, 0o700))
		for _, path := range entries(f.inbox()) {
			name := filepath.Base(path)
			if _, err := os.Stat(filepath.Join(f.received(), name[:len("cv.x7.000001")])); err != nil {
				continue
			}
			k.ok(os.Rename(path, filepath.Join(taken, name)))
			delete(k.whole, path)
		}
	}
}

// checkComplete: every number was received once, with the rows that the
// clinic released, and is acknowledged.
func (k *killing) checkComplete(f flow) (drops, rows int64) {
	var folders []string
	for _, dir := range entries(f.received()) {
		if !strings.HasPrefix(filepath.Base(dir), ".") {
			folders = append(folders, filepath.Base(dir))
		}
	}
	for _, d := range k.drops() {
		if d.exchange != f.exchange {
			continue
		}
		drops++
		base := fmt.Sprintf("cv.%s.%06d", f.id, drops)
		if !slices.Contains(folders, base) {
			k.t.Errorf("drop %d of %s was not received", drops, f.exchange)
			continue
		}
		if d.state != "acknowledged" {
			k.t.Errorf("drop %d of %s is %s", drops, f.exchange, d.state)
		}
		if k.manifests[base] != d.manifest {
			k.t.Errorf("drop %d of %s came with another manifest than was committed", drops, f.exchange)
		}
		n := k.countRows(filepath.Join(f.received(), base))
		if n != d.released || n == 0 {
			k.t.Errorf("drop %d of %s: %d rows were received, %d were released", drops, f.exchange, n, d.released)
		}
		rows += n
	}
	if int64(len(folders)) != drops {
		k.t.Errorf("%s: %d folders were received of %d drops", f.exchange, len(folders), drops)
	}
	return drops, rows
}

// countRows counts lines, less one header for each file of CSV.
func (k *killing) countRows(dir string) (n int64) {
	for _, path := range entries(dir) {
		text, err := os.ReadFile(path)
		k.ok(err)
		if bytes.HasPrefix(text, []byte("part,row,scope")) {
			continue // on what rows rest: no records
		}
		switch filepath.Ext(path) {
		case ".csv":
			n += int64(bytes.Count(text, []byte("\n"))) - 1
		case ".ndjson":
			n += int64(bytes.Count(text, []byte("\n")))
		}
	}
	return n
}

// checkLedger: one commit, one end of delivery, and a receipt for each number; that
// the files were gone before the receipt was read may be told once.
func (k *killing) checkLedger() {
	p := k.start("ledger", "export")
	k.endsWell(p)
	count := map[string]int{}
	lines := bufio.NewScanner(bytes.NewReader(p.out.Bytes()))
	for lines.Scan() {
		var entry struct {
			Event struct {
				Kind, Exchange string
				Sequence       int64
			}
		}
		k.ok(json.Unmarshal(lines.Bytes(), &entry))
		if kind := entry.Event.Kind; kind != "" && kind != "policy" && kind != "key" { // approvals came before the first kill
			count[fmt.Sprintf("%s %s %d", entry.Event.Kind, entry.Event.Exchange, entry.Event.Sequence)]++
		}
	}
	k.ok(lines.Err())
	for _, f := range k.flows {
		for _, d := range k.drops() {
			if d.exchange != f.exchange {
				continue
			}
			for _, kind := range []string{"drop-committed", "delivered", "receipt"} {
				event := fmt.Sprintf("%s %s %d", kind, f.id, d.number)
				if count[event] != 1 {
					k.t.Errorf("the ledger holds %q %d times", event, count[event])
				}
				delete(count, event)
			}
			if event := fmt.Sprintf("picked-up %s %d", f.id, d.number); count[event] == 1 {
				delete(count, event)
			}
		}
	}
	for event := range count {
		k.t.Errorf("the ledger holds %q", event)
	}
}
