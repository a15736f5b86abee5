package deid

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/posternhealth/postern/extract"
	"github.com/posternhealth/postern/internal/keyring"
	"github.com/posternhealth/postern/internal/phi"
	"github.com/posternhealth/postern/policies"
)

// year is the range of the shifts here: 730 of them.
const year = 365

func secretOf(n byte) keyring.Secret { return keyring.Secret{n} }

// shifts are those of people 0 to n-1 under a secret.
func shifts(secret byte, n int) []int {
	k, list := newKeyed(secretOf(secret)), make([]int, n)
	for i := range list {
		list[i] = k.shiftOf(fmt.Appendf(nil, "p%d", i), year)
	}
	return list
}

// far is how many standard deviations a sound draw is not off by: one test in
// three million would be.
const far = 5

func TestShiftsAreUniformAndNeverZero(t *testing.T) {
	count := map[int]int{}
	for _, days := range shifts(1, 100*2*year) {
		count[days]++
	}
	square := 0.0
	for days := -year; days <= year; days++ {
		if days != 0 {
			square += math.Pow(float64(count[days])-100, 2) / 100
		}
	}
	if free := float64(2*year - 1); math.Abs(square-free) > far*math.Sqrt(2*free) || count[0] != 0 || len(count) != 2*year {
		t.Errorf("chi-square %.0f of %.0f degrees of freedom; %d shifts, %d of them zero", square, free, len(count), count[0])
	}
}

// Of one person the shifts under two secrets tell nothing of each other, and
// those of two people whose numbers are neighbours neither.
func TestShiftsAreIndependent(t *testing.T) {
	const people = 40_000
	one, other := shifts(1, people), shifts(2, people)
	for what, pair := range map[string][2][]int{"two recipients": {one, other}, "neighbours": {one[1:], one[:people-1]}} {
		var grid [10][10]float64
		product := 0.0
		for i, days := range pair[0] {
			grid[(days+year)*10/(2*year+1)][(pair[1][i]+year)*10/(2*year+1)]++
			product += float64(days) * float64(pair[1][i])
		}
		spread := float64((year + 1) * (2*year + 1) / 6) // of a shift, squared
		if r := product / people / spread; math.Abs(r) > far/math.Sqrt(people) {
			t.Errorf("%s: correlation %.4f", what, r)
		}
		square := 0.0
		for _, row := range grid {
			for _, n := range row {
				square += math.Pow(n-people/100, 2) / (people / 100)
			}
		}
		if math.Abs(square-99) > far*math.Sqrt(2*99)+10 { // the cells differ in size by one shift in 73
			t.Errorf("%s: chi-square %.0f of 99 degrees of freedom", what, square)
		}
	}
}

// Whoever knows the true dates of all others guesses a person's shift no better
// than one in 730, by whichever of these ways.
func TestOthersTellNothing(t *testing.T) {
	const people = 50 * 2 * year
	known := shifts(3, people)
	count, most := map[int]int{}, 0
	for _, days := range known {
		if count[days]++; count[days] > count[most] {
			most = days
		}
	}
	hits := map[string]int{}
	for i := 2; i < people; i++ {
		hits["as the one before"] += same(known[i], known[i-1])
		hits["as before that, and on"] += same(known[i], 2*known[i-1]-known[i-2])
		hits["the other way round"] += same(known[i], -known[i-1])
		hits["as the one of half the number"] += same(known[i], known[i/2])
		count[known[i]]-- // all others
		hits["as most others"] += same(known[i], most)
		count[known[i]]++
	}
	for way, n := range hits {
		if way == "as most others" {
			n -= count[most] - 50 // it was chosen for being frequent
		}
		if float64(n) > 50+far*math.Sqrt(50) {
			t.Errorf("%s: %d of %d, by chance 50", way, n, people)
		}
	}
}

func same(a, b int) int {
	if a == b {
		return 1
	}
	return 0
}

// One shift of a person in all files and types, whichever of their ids a record
// has; times of day stay, months and years leave nothing.
func TestShiftedDatesKeepIntervals(t *testing.T) {
	secret := secretOf(4)
	rows, err := Compile(rowPolicy(policies.ExpertDetermination, policies.Field{Name: "service_date", Do: policies.ShiftDate, Days: year}), "scores", Options{AsOf: asOf, Schema: scoresSchema(), Secret: &secret})
	if err != nil {
		t.Fatal(err)
	}
	p := fhirPolicy(policies.ExpertDetermination, "Observation", "shift-date effectiveDateTime", "shift-date effectivePeriod start", "shift-date effectivePeriod end", "shift-date effectiveTiming event", "shift-date issued")
	for i := range p.Release[0].Fields {
		p.Release[0].Fields[i].Days = year
	}
	resources, err := Compile(p, "Observation", Options{AsOf: asOf, Secret: &secret})
	if err != nil {
		t.Fatal(err)
	}
	rapid.Check(t, func(t *rapid.T) {
		drawDay := func(name string) time.Time {
			return day("2020-01-01").Time().AddDate(0, 0, rapid.IntRange(0, 2300).Draw(t, name))
		}
		clock := rapid.SampledFrom([]string{"T00:00:00Z", "T23:59:59.123-05:00", "T10:30+14:00", ""}).Draw(t, "clock")
		one, two, three := drawDay("one").Format(time.DateOnly), drawDay("two").Format(time.DateOnly), drawDay("three").Format(time.DateOnly)
		s := UnknownSubject()
		s.ID = phi.Bytes("p1")
		alias := rapid.SampledFrom([]string{"p1", "p1-old"}).Draw(t, "id")
		var row, resource Output
		if err := rows.Engine().Apply(rowOf("r", alias, one, "", "", "", "", "", "", "", ""), &s, &row); err != nil {
			t.Fatal(err)
		}
		rec := recordOf(fmt.Appendf(nil, `{"resourceType":"Observation","effectiveDateTime":"%s","effectivePeriod":{"start":"%s","end":"%s"},"effectiveTiming":{"event":["%s","%s","%s"]},"issued":"%s"}`,
			two+clock, one[:7], three, three+clock, one[:4], two, three+rapid.SampledFrom([]string{"T1:00Z", "T10:00:00.Z", "T10:00:00.1234567890Z"}).Draw(t, "no time")))
		rec.Facts.Subjects = []phi.Bytes{phi.Bytes(alias)}
		if err := resources.Engine().Apply(rec, &s, &resource); err != nil {
			t.Fatal(err)
		}
		var got struct {
			EffectiveDateTime, Issued string
			EffectivePeriod           struct{ Start, End string }
			EffectiveTiming           struct{ Event []string }
		}
		if err := json.Unmarshal(resource.Bytes, &got); err != nil {
			t.Fatal(err)
		}
		if got.EffectivePeriod.Start != "" || got.Issued != "" || len(got.EffectiveTiming.Event) != 2 {
			t.Fatalf("a part of a date, or no time, leaves: %s", resource.Bytes)
		}
		days := 0
		for i, pair := range [][2]string{{one, strings.TrimSpace(string(row.Bytes))}, {two + clock, got.EffectiveDateTime}, {three, got.EffectivePeriod.End}, {three + clock, got.EffectiveTiming.Event[0]}, {two, got.EffectiveTiming.Event[1]}} {
			if pair[0][10:] != pair[1][10:] {
				t.Fatalf("%s became %s", pair[0], pair[1])
			}
			from, _ := time.Parse(time.DateOnly, pair[0][:10])
			to, err := time.Parse(time.DateOnly, pair[1][:10])
			if moved := int(to.Sub(from).Hours() / 24); err != nil || i > 0 && moved != days || moved == 0 || moved < -year || moved > year {
				t.Fatalf("%s became %s, others moved by %d days", pair[0], pair[1], days)
			} else {
				days = moved
			}
		}
	})
	for what, rec := range map[string]*extract.Record{
		"of two people": {Row: rowOf("r", "p1", "2025-02-03").Row, Facts: extract.Facts{Subjects: []phi.Bytes{phi.Bytes("p1"), phi.Bytes("p2")}}},
		"of nobody":     {Row: rowOf("r", "", "2025-02-03").Row},
		"of old":        rowOf("r", "p1", "1934-02-03"), // shows an age over 89, 45 CFR 164.514(b)(2)(i)(C)
		"of a month":    rowOf("r", "p1", "2025-02"),
		"of a slip":     rowOf("r", "p1", "2925-02-03"), // the gate would stop the drop
	} {
		var out Output
		if err := rows.Engine().Apply(rec, nil, &out); err != nil || string(out.Bytes) != "\"\"\n" {
			t.Errorf("a date %s: %s %v", what, out.Bytes, err)
		}
	}
}

// tokenOracle makes a token by another implementation of the alphabet.
func tokenOracle(secret byte, what string) string {
	key := secretOf(secret).Key("token")
	mac := hmac.New(sha256.New, key[:])
	mac.Write([]byte(what))
	var bits [CodeLen * 5 / 8 * 2]byte // the low five bits of each byte, packed
	at := 0
	for _, c := range mac.Sum(nil)[:CodeLen] {
		for bit := 4; bit >= 0; bit-- {
			bits[at/8] |= c >> bit & 1 << (7 - at%8)
			at++
		}
	}
	return base32.NewEncoding("0123456789abcdefghjkmnpqrstvwxyz").WithPadding(base32.NoPadding).EncodeToString(bits[:])[:CodeLen]
}

// A token is the HMAC of what it stands for, by another implementation of its
// alphabet; a merged person has one, and no two kinds of things or secrets share any.
func TestTokens(t *testing.T) {
	fields := []policies.Field{{Name: "who", From: "subject", Do: policies.Token}, {Name: "row", From: "record", Do: policies.Token}}
	schema := scoresSchema()
	schema.Fields[1].Role = extract.RoleSubject
	token := func(secret byte, rec *extract.Record, id string) []string {
		key := secretOf(secret)
		plan, err := Compile(rowPolicy(policies.LimitedDataSet, fields...), "scores", Options{AsOf: asOf, Schema: schema, Secret: &key})
		if err != nil {
			t.Fatal(err)
		}
		s, out := UnknownSubject(), Output{}
		s.ID = phi.Bytes(id)
		if err := plan.Engine().Apply(rec, &s, &out); err != nil {
			t.Fatal(err)
		}
		return strings.Split(strings.TrimSpace(string(out.Bytes)), ",")
	}
	oracle := tokenOracle
	rec := rowOf("7", "7-old", "")
	got := token(1, rec, "7")
	if want := []string{oracle(1, "person\x007"), oracle(1, "record\x007")}; !slices.Equal(got, want) {
		t.Errorf("got %s, want %s", got, want)
	}
	if again := token(1, rowOf("8", "7", ""), ""); again[0] != got[0] || again[1] == got[1] {
		t.Errorf("%s, and then %s", got, again)
	}
	if other := token(2, rec, "7"); other[0] == got[0] || other[1] == got[1] {
		t.Error("two secrets gave one token")
	}
	rec.Facts.Subjects = append(rec.Facts.Subjects, phi.Bytes("8"))
	if two := token(1, rec, "7"); two[0] != "" {
		t.Error("a row about two people has a token of one")
	}
}

// window is the time that a drop is known to hold, in days.
type window struct{ first, last int }

// TestWindowAttack runs the attack on shifted dates that needs no key: whoever
// knows which time a drop holds, or what was new in it, knows between which days
// each true date lies, and so between which the shift. Its success over the
// years is the table of docs/transforms.md, and is why the check refuses
// windows that move, and those shorter than twice the range.
func TestWindowAttack(t *testing.T) {
	const people = 2000
	var months, years []window
	for m := range 12 {
		months = append(months, window{m * 365 / 12, (m+1)*365/12 - 1})
	}
	for y := range 4 {
		years = append(years, window{y * 365, y*365 + 364})
	}
	scenarios := []struct {
		name  string
		drops []window
	}{
		{"twelve drops, each of its month, or of all so far", months},
		{"one drop of one closed year", years[:1]},
		{"two drops, each of a closed year", years[:2]},
		{"one drop of two closed years", []window{{0, 729}}},
		{"one drop of four closed years", []window{{0, 1459}}},
	}
	var table strings.Builder
	fmt.Fprintf(&table, "| what the recipient receives | a visit a month all the time: shifts left, guessed right | twelve weekly visits: shifts left, guessed right |\n| --- | --- | --- |\n")
	rate := map[string]float64{}
	for _, sc := range scenarios {
		fmt.Fprintf(&table, "| %s ", sc.name)
		for _, care := range []string{"always", "episode"} {
			r := rand.New(rand.NewPCG(5, 7))
			var left []int
			hits := 0
			for _, shift := range shifts(9, people) {
				end := sc.drops[len(sc.drops)-1].last
				var visits []int
				if care == "always" {
					for day := range end + 1 {
						if r.IntN(30) == 0 {
							visits = append(visits, day)
						}
					}
				} else {
					start := r.IntN(end - 77 + 1)
					for week := range 12 {
						visits = append(visits, start+7*week)
					}
				}
				candidates := attack(sc.drops, visits, shift)
				if !slices.Contains(candidates, shift) {
					t.Fatal("the attack excludes the truth")
				}
				left = append(left, len(candidates))
				hits += same(candidates[r.IntN(len(candidates))], shift)
			}
			slices.Sort(left)
			rate[sc.name+care] = float64(hits) / people
			fmt.Fprintf(&table, "| %d of 730, %.1f %% ", left[people/2], 100*float64(hits)/people)
		}
		fmt.Fprintln(&table, "|")
	}
	if rate[scenarios[0].name+"always"] < 0.1 || rate[scenarios[4].name+"episode"] > 0.01 {
		t.Errorf("the check of a policy rests on other numbers: %v", rate)
	}
	const page, begin, end = "../docs/transforms.md", "<!-- measured: the window attack -->\n", "<!-- end -->"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, _ := strings.Cut(string(text), begin)
	was, after, found := strings.Cut(rest, end)
	if os.Getenv("UPDATE_GOLDEN") != "" && found {
		if err := os.WriteFile(page, []byte(before+begin+table.String()+end+after), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if was != table.String() {
		t.Errorf("%s does not say what was measured:\n%s", page, table.String())
	}
}

// attack gives the shifts that fit all visits that the drops show.
func attack(drops []window, visits []int, shift int) (fit []int) {
	least, most := -year, year
	for _, visit := range visits {
		for _, w := range drops {
			if visit >= w.first && visit <= w.last {
				shown := visit + shift
				least, most = max(least, shown-w.last), min(most, shown-w.first)
			}
		}
	}
	for days := least; days <= most; days++ {
		if days != 0 {
			fit = append(fit, days)
		}
	}
	return fit
}
