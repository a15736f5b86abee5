package deid

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// zip3Rows reads "prefix,population" lines independently of the code under test.
func zip3Rows(t *testing.T, text string) map[string]int {
	t.Helper()
	rows := map[string]int{}
	for line := range strings.Lines(text) {
		prefix, population, ok := strings.Cut(strings.TrimSpace(line), ",")
		people, err := strconv.Atoi(population)
		if !ok || err != nil || len(prefix) != 3 {
			continue
		}
		if _, double := rows[prefix]; double {
			t.Errorf("prefix %s stands twice", prefix)
		}
		rows[prefix] = people
	}
	return rows
}

// The figures are those that the Bureau's table and the guidance give.
func TestZIP3TablesAreComplete(t *testing.T) {
	rows := zip3Rows(t, zip3Census2020)
	people := 0
	var small []string
	for prefix, n := range rows {
		people += n
		if n <= 20_000 {
			small = append(small, prefix)
		}
	}
	if len(rows) != 894 || people != 334_726_586 || len(small) != 18 {
		t.Errorf("%d prefixes, %d people, %d restricted; want 894, 334726586, 18", len(rows), people, len(small))
	}
	old := strings.Fields(zip3RestrictedCensus2000)
	union := map[string]bool{}
	for _, prefix := range append(small, old...) {
		union[prefix] = true
	}
	if len(old) != 17 || len(union) != 23 {
		t.Errorf("%d restricted by the 2000 Census, %d by either; want 17, 23", len(old), len(union))
	}

	for i := range 1000 {
		prefix := fmt.Sprintf("%03d", i)
		_, known := rows[prefix]
		want := !known || union[prefix]
		if got := ZIP3([]byte(prefix + "01")); (got == [3]byte{'0', '0', '0'}) != want {
			t.Errorf("prefix %s: restricted is %v", prefix, !want)
		}
	}
}

func TestZIP3TableIsTheSharedOne(t *testing.T) {
	text, err := os.ReadFile("../../shared/data/reference/zip3-census2020.csv")
	if err != nil {
		if os.Getenv("POSTERN_REQUIRE") == "all" {
			t.Fatal("peer missing: shared data")
		}
		t.Skip("peer missing: shared data")
	}
	shared, ours := zip3Rows(t, string(text)), zip3Rows(t, zip3Census2020)
	if len(shared) != len(ours) {
		t.Errorf("%d prefixes, the shared table has %d", len(ours), len(shared))
	}
	for prefix, people := range shared {
		if ours[prefix] != people {
			t.Errorf("prefix %s: %d people, the shared table says %d", prefix, ours[prefix], people)
		}
	}
}

func TestZIP3(t *testing.T) {
	cases := map[string]string{
		"02139": "021", "02139-4307": "021", "021394307": "021", "00601": "006",
		"03601": "000", "05901": "000", "20201": "000", "89301": "000", // 20,000 people or fewer in a vintage
		"06301": "000", "89001": "000", // by the old list alone
		"36901": "000", "75301": "000", // by the new one alone
		"00001": "000", "09601": "000", "96201": "000", "34001": "000", "00000": "000", // military or unassigned: in no table
		"": "000", "021": "000", "0213": "000", "2139": "000", "021394": "000", "02139-": "000", "02139-43": "000",
		"02139 4307": "000", " 02139": "000", "02139\n": "000", "SW1A 1AA": "000", "K1A 0B1": "000", "0213a": "000",
		"٠٢١٣٩": "000", "021-394307": "000", "02139-430x": "000",
	}
	for zip, want := range cases {
		if got := ZIP3([]byte(zip)); string(got[:]) != want {
			t.Errorf("ZIP3(%q) = %s, want %s", zip, got, want)
		}
	}
	if ZIP3(nil) != [3]byte{'0', '0', '0'} {
		t.Error("no ZIP code has a prefix")
	}
}

// Whatever comes in, what goes out is 000 or an unrestricted prefix of it.
func TestZIP3ShowsNoOtherPrefix(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		zip := rapid.OneOf(rapid.String(), rapid.StringMatching(`[0-9]{5}(-?[0-9]{4})?`)).Draw(t, "zip")
		got := ZIP3([]byte(zip))
		if string(got[:]) != "000" && (ZIP3([]byte(string(got[:])+"00")) != got || !strings.HasPrefix(zip, string(got[:]))) {
			t.Fatalf("ZIP3(%q) = %s", zip, got)
		}
	})
}

func TestZIP3DoesNotAllocate(t *testing.T) {
	zip := []byte("02139-4307")
	if n := testing.AllocsPerRun(100, func() { ZIP3(zip) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
