package strictyaml

import (
	"bytes"
	"encoding/json"
	"testing"
)

func TestNodesAsJSON(t *testing.T) {
	for text, want := range map[string]string{
		`{a: 1, b: 2.50, c: true, d: "1", e: 2026-03-02, f: plain text, g: [x, {h: ""}], i: 44261-6, j: [], k: {}}`: `{"a":1,"b":2.50,"c":true,"d":"1","e":"2026-03-02","f":"plain text","g":["x",{"h":""}],"i":"44261-6","j":[],"k":{}}`,
		`{"quote\"d": "line\nbreak", n: null, seven: 007, hex: 0x10, nan: .nan}`:                                    `{"quote\"d":"line\nbreak","n":null,"seven":"007","hex":"0x10","nan":".nan"}`,
	} {
		var n Node
		if _, err := Decode("x.yaml", []byte(text), &n); err != nil {
			t.Fatal(err)
		}
		got := n.AppendJSON(nil)
		if string(got) != want || !json.Valid(got) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if !bytes.Equal(n.AppendJSON([]byte("x"))[1:], got) {
			t.Error("it does not append")
		}
	}
}
