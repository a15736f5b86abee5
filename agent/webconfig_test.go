package agent

import (
	"slices"
	"strings"
	"testing"

	"github.com/posternhealth/postern/internal/strictyaml"
)

func TestWebDestinationsInTheConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		`https: {url: "https://drops.example/in/", token: "file:t"}`:                                                        "",
		`https: {url: "https://drops.example/in/", user: u, password: "file:p"}`:                                            "",
		`https: {url: "https://drops.example/in/", certificate: "file:c", key: "file:k"}`:                                   "",
		`https: {url: "http://drops.example/in/", token: "file:t"}`:                                                         ".https.url",
		`https: {url: "https://drops.example/in", token: "file:t"}`:                                                         ".https.url",
		`https: {url: "https://u:p@drops.example/in/", token: "file:t"}`:                                                    ".https.url",
		`https: {url: "https://drops.example/in/"}`:                                                                         ".https",
		`https: {url: "https://drops.example/in/", user: u}`:                                                                ".https",
		`https: {url: "https://drops.example/in/", user: u, password: "file:p", token: "file:t"}`:                           ".https",
		`s3: {url: "https://s3.example/b/in/", region: r, access_key: "file:a", secret_key: "file:s"}`:                      "",
		`s3: {url: "s3://b/in/", region: r, access_key: "file:a", secret_key: "file:s"}`:                                    ".s3.url",
		`s3: {url: "https://s3.example/b/in/", receipts: r, region: r, access_key: "file:a", secret_key: "f:s"}`:            ".s3.receipts",
		`s3: {url: "https://s3.example/b/in/"}`:                                                                             ".s3.region",
		`{}`:                                                                                                                "", // of two kinds, or none
		`{folder: {path: p}, s3: {url: "https://s3.example/b/in/", region: r, access_key: "file:a", secret_key: "file:s"}}`: "",
	} {
		var c Config
		source, _ := strictyaml.Decode("postern.yaml", []byte("recipients:\n  acme:\n    destination:\n      "+text+"\n"), &c) // the rest of it is missing
		c.check(configErrors{source})
		var found []string
		for _, m := range source.Errors().List {
			if at, is := strings.CutPrefix(m.Path, "recipients.acme.destination"); is {
				found = append(found, at)
			}
		}
		one := !strings.HasPrefix(text, "{")
		if one && want == "" && len(found) > 0 || want != "" && !slices.Contains(found, want) || !one && !slices.Equal(found, []string{""}) {
			t.Errorf("%s: found %q", text, found)
		}
	}
}
