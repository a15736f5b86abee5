package transfer

import (
	"os"
	"path/filepath"
	"strings"

	openpgp "github.com/ProtonMail/go-crypto/openpgp/v2"
)

const (
	vectorNoScores     = "row_key,instrument,total_score\n"
	vectorOneScore     = vectorNoScores + "k3vq8w1m6z0t4n7x2r5d,44261-6,11\n"
	vectorScores       = vectorOneScore + "b9f2h6j1p8s4c7m3y0wq,70274-6,7\nt5x1n8d4r7z2v6k9g3hm,44261-6,19\n"
	vectorObservations = `{"resourceType":"Observation","id":"1","status":"final"}` + "\n" + `{"resourceType":"Observation","id":"2","status":"final"}` + "\n"
	// The text needs each kind of escape, and none where others escape: the
	// one spelling leaves < > & / é and U+2028 as they are.
	vectorNotice = "42 CFR part 2 prohibits \"unauthorized\" use or disclosure\nof these records \\ <é & / \u2028>\t."
	vectorScope  = "consent: 42 CFR 2.31\nfrom whom: clearview\nto whom: acme-health-plan\nwhat: all records\nfor what: HOPERAT\nin force from: 2026-01-01\nform: tpo-2026\nsigned: 2026-01-01\n"
)

var vectorColumns = []string{"row_key", "instrument", "total_score"}

// x7 begins the names of the first drop's files.
const x7 = "cv.x7.000001."

// goodVectors are accepted, each with what was received before it.
func (m *vectorMaker) goodVectors() []vector {
	return []vector{
		{"first", Accepted, "", "", "", "the first of its exchange: rows as csv and ndjson, and a part for rows under 42 CFR Part 2, which is empty", m.first},
		{"next", Accepted, "", "", "first", "the second; its event log continues that of the first", func(d *draft) { m.first(d); m.second(d) }},
		{"voids", Accepted, "", "next", "first next", "number 4: explains that number 3 is void, which never arrived", func(d *draft) { m.later(d, 4, 3) }},
		{"withdraws", Accepted, "", "next", "first next voids", "number 5: voids number 4, which was accepted", func(d *draft) { m.later(d, 5, 3, 4) }},
		{"late-start", Accepted, "", "", "", "the first that arrives is number 3, which voids 1 and 2; and it has no parts", func(d *draft) {
			m.first(d)
			d.head.Sequence, d.head.Voids = 3, []int64{1, 2}
			d.parts, d.book.People, d.book.Totals = nil, 0, nil
		}},
		{"other-first", Accepted, "", "first", "", "another number 1 of the exchange: good where the first was never seen", func(d *draft) {
			d.parts[0].text, d.parts[0].people = vectorOneScore, 1
			d.book.People, d.book.Totals = 3, []Total{{"rows", "3"}, {"sum of total_score", "11"}}
		}},
		{"other-sender", Accepted, "", "first", "", "by another sender, who chose the same short code and exchange: good where the first was never seen", func(d *draft) {
			d.head.Sender, d.signer = "lakeside", vectorSigner("lakeside")
		}},
		{"again", Repeated, "", "first", "first", "the same drop once more", nil},
		{"no-done", Unfinished, "", "first", "", "a drop without its .done is still on its way", func(d *draft) {
			d.lies = func(files map[string][]byte) { delete(files, x7+"done") }
		}},
		{"done-empty", Unfinished, "", "first", "", "an empty .done grows on a server that renames nothing", func(d *draft) {
			d.done = func([]byte) []byte { return nil }
		}},
		{"receipt-beside", Accepted, "", "first", "", "a receipt of before, and a half upload under its private name, lie in the same folder", func(d *draft) {
			d.lies = func(files map[string][]byte) {
				files[x7+"receipt.json"], files[x7+"receipt.json.sig"], files["."+x7+"001.zst.age.part"] = []byte("{}\n"), []byte("\n"), []byte("age-enc")
			}
		}},
		{"layouts", Accepted, "", "", "", "the recipient's own layouts: lines with and without header and trailer, some ending in CR LF, one beginning with a byte order mark; and the control files. Encrypted to two keys of the recipient", m.layouts},
		{"test-drop", Accepted, "", "", "first", "the second of the drops that are about nobody; it is no part of the event log", func(d *draft) {
			m.first(d)
			d.code, d.head.Sender = "testcv", "clearview"+TestSender
			d.head.Sequence, d.head.Voids, d.parts, d.book.Ledger = 2, []int64{1}, d.parts[:1], Ledger{}
		}},
		{"openpgp", Accepted, "", "", "", "encrypted to a key of OpenPGP", m.openPGP},
		{"part2", Accepted, "", "", "", "rows under 42 CFR Part 2, notice, overlap of codes and scope of consent", m.part2},
		{"recall", Recalled, "", "", "first", "not a drop, but a recall of the first one, whole", func(d *draft) {
			m.first(d)
			d.recall = &Recall{ManifestSHA256: m.manifestSum("first"), Number: 1}
		}},
		{"several-parts", Accepted, "", "", "", "rows of one dataset in several parts, one after the other, and so the scope of consent", m.severalParts},
		{"changes", Accepted, "", "first", "first", "a drop of changes: rows to add, to change and to void, for both sides", m.changes},
	}
}

func (m *vectorMaker) first(d *draft) {
	key := ageKey(m.t, payerKey)
	d.code, d.signer, d.keys = "cv", vectorSigner("clearview"), []Recipient{key}
	d.head = Manifest{Format: ManifestFormat, Sender: "clearview", Recipient: "acme-health-plan", Exchange: "x7", Sequence: 1,
		PolicySHA256: sumOf([]byte("policy")), RecipientKeys: []string{key.Fingerprint}}
	d.book = Book{Standard: "identified", People: 4, Totals: []Total{{"rows", "5"}, {"sum of total_score", "37"}},
		Ledger: newVectorLedger(m.t, "clearview", "entry").at(m.t, 0, 3)}
	d.parts = []draftPart{
		{PartInfo{Dataset: "scores", Format: CSV, Columns: vectorColumns}, vectorScores, 3},
		{PartInfo{Dataset: "scores", Format: CSV, Columns: vectorColumns, Part2: true}, vectorNoScores, 0},
		{PartInfo{Dataset: "Observation", Format: NDJSON}, vectorObservations, 2},
	}
}

// second makes of the first drop the next.
func (m *vectorMaker) second(d *draft) {
	d.head.Sequence, d.head.Previous = 2, m.manifestSum("first")
	d.parts = d.parts[:2]
	d.parts[0].text, d.parts[0].people = vectorOneScore, 1
	d.book.People, d.book.Totals = 1, []Total{{"rows", "1"}, {"sum of total_score", "11"}}
	d.book.Ledger = newVectorLedger(m.t, "clearview", "entry").at(m.t, 3, 5)
}

// later makes of the second drop one of a later number.
func (m *vectorMaker) later(d *draft, number int64, voids ...int64) {
	d.head.Sequence, d.head.Previous, d.head.Voids = number, m.manifestSum("next"), voids
	d.book.Ledger = newVectorLedger(m.t, "clearview", "entry").at(m.t, 5, 5+number)
}

func (m *vectorMaker) layouts(d *draft) {
	m.first(d)
	second := ageKey(m.t, otherKey)
	d.keys, d.head.RecipientKeys = append(d.keys, second), append(d.head.RecipientKeys, second.Fingerprint)
	d.head.Exchange = "l4"
	part := func(dataset string, part2, header, trailer bool, text string, people int64) draftPart {
		return draftPart{PartInfo{Dataset: dataset, Format: Lines(header, trailer), Columns: []string{"member", "score"}, Part2: part2}, text, people}
	}
	d.parts = []draftPart{
		part("a", false, false, false, "M1   11\r\nM2    7\r\n", 2),
		part("b", false, true, false, "\ufeffmember|score\nM1|11\n", 1),
		part("c", false, false, true, "M1,11\nTRL,1\n", 1),
		part("d", true, true, true, "member\tscore\r\nTRL\t0\r\n", 0),
		part(ControlFile, false, true, false, "file,rows\ncv.l4.000001.001.txt,2\ncv.l4.000001.002.txt,1\ncv.l4.000001.003.txt,1\n", 0),
		part(ControlFile, true, true, false, "file,rows\ncv.l4.000001.004.txt,0\n", 0),
	}
	d.book.People, d.book.Totals = 2, nil
}

func (m *vectorMaker) openPGP(d *draft) {
	m.first(d)
	d.head.Exchange, d.parts, d.book.People = "g1", d.parts[:1], 3
	d.book.Totals = nil
	secret, err := os.ReadFile(filepath.Join(vectorFolder, "keys", "openpgp_identity.asc"))
	must(m.t, err)
	ring, err := ParseKeyring(secret, nil)
	must(m.t, err)
	public, err := armored(openpgp.PublicKeyType, ring.keys[0].Serialize)
	must(m.t, err)
	key, err := ParseOpenPGP(public, vectorTime)
	must(m.t, err)
	d.keys, d.head.RecipientKeys = []Recipient{key}, []string{key.Fingerprint}
}

func (m *vectorMaker) part2(d *draft) {
	m.first(d)
	d.head.Exchange = "p2"
	d.parts = []draftPart{
		{PartInfo{Dataset: "scores", Format: CSV, Columns: vectorColumns}, vectorNoScores, 0},
		{PartInfo{Dataset: "scores", Format: CSV, Columns: vectorColumns, Part2: true}, vectorScores, 2},
		{PartInfo{Dataset: Overlap, Format: CSV, Columns: []string{"old_code", "new_code"}, Part2: true}, "old_code,new_code\nq7m2x9v4b1n8c5z3k6wh,a4t8r1y6p3d9s2f7j5gm\n", 1},
		{PartInfo{Dataset: ScopeOfConsent, Format: CSV, Columns: []string{"part", "row", "scope", "row_key"}, Part2: true},
			"part,row,scope,row_key\n2,1,1,k3vq8w1m6z0t4n7x2r5d\n2,2,2,b9f2h6j1p8s4c7m3y0wq\n2,3,1,t5x1n8d4r7z2v6k9g3hm\n", 2},
	}
	d.book.People, d.book.Totals = 2, []Total{{"rows", "3"}}
	d.book.Notices = []Notice{{"42 CFR 2.32", vectorNotice}, {ScopeOfConsent + " 1", vectorScope},
		{ScopeOfConsent + " 2", "ground: 42 CFR 2.53 audit and evaluation\npaper: agreement 2026-7\nin force from: 2026-01-01\nin force until: 2026-12-31\n"}}
}

func (m *vectorMaker) severalParts(d *draft) {
	m.part2(d)
	d.head.Exchange = "s3"
	program, scope := d.parts[1], d.parts[3]
	rows, scopes := strings.SplitAfter(program.text, "\n"), strings.SplitAfter(scope.text, "\n")
	some := func(p draftPart, lines []string, people int64) draftPart {
		p.text, p.people = strings.Join(lines, ""), people
		return p
	}
	places := strings.NewReplacer("\n2,3,", "\n3,1,")
	d.parts = []draftPart{
		d.parts[0],
		some(program, rows[:3], 2),
		some(program, []string{rows[0], rows[3]}, 1),
		some(scope, scopes[:3], 2),
		some(scope, []string{places.Replace(scopes[0] + scopes[3])}, 1),
	}
}

func (m *vectorMaker) changes(d *draft) {
	m.second(d)
	part := func(action string, part2 bool, text string, people int64, columns ...string) draftPart {
		return draftPart{PartInfo{Dataset: "scores", Format: CSV, Columns: columns, Part2: part2, Action: action}, text, people}
	}
	d.parts = []draftPart{
		part(Add, false, vectorNoScores+"h2w8c5v1r9m4t7q3z6xb,70274-6,4\n", 1, vectorColumns...),
		part(Change, false, vectorOneScore[:len(vectorOneScore)-3]+"12\n", 1, vectorColumns...),
		part(Void, false, "row_key\nb9f2h6j1p8s4c7m3y0wq\n", 0, RowKeyColumn),
		part(Add, true, vectorNoScores, 0, vectorColumns...),
		part(Change, true, vectorNoScores, 0, vectorColumns...),
		part(Void, true, "row_key\n", 0, RowKeyColumn),
	}
	d.book.People, d.book.Totals = 2, nil
}
