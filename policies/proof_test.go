package policies

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"html"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/page"
)

// What the proofs of all kinds of policies say of what is no field, each answer
// with the policies that get it.
func TestBeside(t *testing.T) {
	var b strings.Builder
	for i, what := range besideFields {
		b.WriteString(what.subject + " (" + what.law + ")\n")
		answers := map[string][]string{}
		list := allowed()
		for _, name := range sortedNames(list) {
			answer := proofOf(t, list[name]).Beside[i].Answer
			answers[answer] = append(answers[answer], name)
		}
		for _, answer := range sortedNames(answers) {
			b.WriteString(page.Wrap(answer, "  ", "    ") + page.Wrap(strings.Join(answers[answer], "; "), "      - ", "        "))
		}
	}
	matchGolden(t, "testdata/beside.txt", b.String())
}

func proofOf(t *testing.T, p *Policy) *Proof {
	t.Helper()
	proof, err := Check(p, testEnv(t))
	if err != nil {
		t.Fatal(err)
	}
	return proof
}

// The page says all that the proof says, loads nothing and runs nothing.
func TestProofAsPage(t *testing.T) {
	for name, p := range allowed() {
		p.Name = `<b>"made" & more</b>`
		proof := proofOf(t, p)
		page := proof.HTML()
		text := textOf(t, page)
		says := []string{proof.Policy, proof.SHA256, string(proof.Standard), proof.Law}
		for _, row := range proof.Rows {
			says = append(says, row.Paragraph, row.Title)
			for _, h := range row.Handled {
				says = append(says, h.Dataset+": "+strings.Join(h.Fields, ", "), h.Treatment)
			}
		}
		for _, s := range proof.Beside {
			says = append(says, s.Subject, s.Law, s.Answer)
		}
		for _, s := range proof.RestsOn {
			says = append(says, s.Text, s.Until)
		}
		for _, s := range says {
			if !strings.Contains(text, s) {
				t.Errorf("%s: the page lacks %q", name, s)
			}
		}
		for _, bad := range []string{"<script", "<link", "src=", "<b>", "javascript"} {
			if strings.Contains(page, bad) {
				t.Errorf("%s: the page has %s", name, bad)
			}
		}
	}
}

// textOf is what a page says; every element must be closed in its place.
func textOf(t *testing.T, page string) string {
	d := xml.NewDecoder(strings.NewReader(page))
	d.Strict, d.AutoClose, d.Entity = false, xml.HTMLAutoClose, xml.HTMLEntity
	var b bytes.Buffer
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return html.UnescapeString(b.String())
		}
		if err != nil {
			t.Fatal(err)
		}
		if c, ok := token.(xml.CharData); ok {
			b.Write(c)
		}
	}
}

// As JSON the proof has these keys and no others, and is the same when read.
func TestProofAsJSON(t *testing.T) {
	proof := proofOf(t, mustLoad(t, "testdata/right/outcomes-expert.yaml"))
	text, err := json.MarshalIndent(proof, "", " ")
	if err != nil {
		t.Fatal(err)
	}
	matchGolden(t, "testdata/right/outcomes-expert.proof.json", string(text)+"\n")
	var back Proof
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&back); err != nil || !reflect.DeepEqual(back, *proof) {
		t.Errorf("%v: %+v", err, back)
	}
}
