package policies

import (
	"embed"
	"io/fs"
	"strings"
)

//go:embed library
var shipped embed.FS

// Library is the folder of the policies that Postern ships: NAME.yaml for each,
// the value sets and texts that they name, the schemas of their datasets, and
// their cases under cases/NAME. As shipped none of them passes Check: what only
// an officer can say is still to be filled in.
func Library() fs.FS {
	folder, _ := fs.Sub(shipped, "library") // which fails for an invalid name only
	return folder
}

// Shipped is a policy of the library.
type Shipped struct {
	Name  string `json:"name"`
	About string `json:"about"` // the first sentence of the file
}

// ShippedPolicies lists the library in the order of names.
func ShippedPolicies() []Shipped {
	var list []Shipped
	files, _ := fs.Glob(Library(), "*.yaml") // which fails for an invalid pattern only
	for _, file := range files {
		text, _ := fs.ReadFile(Library(), file) // embedded, so it can be read
		about := strings.ReplaceAll(strings.TrimPrefix(string(text), "# "), "\n# ", " ")
		about, _, _ = strings.Cut(about, ".")
		list = append(list, Shipped{strings.TrimSuffix(file, ".yaml"), about})
	}
	return list
}
