package policies

import "github.com/posternhealth/postern/internal/strictyaml"

// layoutFile is the shape of a layout.
type layoutFile struct {
	Postern   string                           `yaml:"postern,required" words:"layout/v1" why:"this version of Postern reads layout/v1" about:"the language and its version"`
	Title     string                           `yaml:"title,required" about:"what the recipient calls the file, and the edition of its specification"`
	Form      string                           `yaml:"form,required" words:"delimited|fixed-width"`
	Delimiter string                           `yaml:"delimiter" words:"comma|bar|tab|semicolon" about:"of delimited: what stands between columns"`
	Quotes    string                           `yaml:"quotes" words:"where-needed|always|never" about:"of delimited: which cells stand in double quotes; with never, a value that needs them rejects its record"`
	LineEnd   string                           `yaml:"line_end,required" words:"crlf|lf"`
	Encoding  string                           `yaml:"encoding,required" words:"utf-8|ascii" about:"a value outside of it rejects its record"`
	BOM       bool                             `yaml:"bom" about:"yes: files begin with a byte order mark"`
	Files     strictyaml.Ordered[*laidOutFile] `yaml:"files,required" about:"by the dataset whose rows each holds"`
	Control   controlFile                      `yaml:"control" about:"one more file, which lists the others"`
}

type laidOutFile struct {
	Per     string                          `yaml:"per" about:"of FHIR: a repeating element, each of which makes a row, such as component; not written: the resource makes one"`
	Header  headerFile                      `yaml:"header" about:"yes: the names of the columns; or a list of texts"`
	Columns strictyaml.Ordered[*columnFile] `yaml:"columns,required" about:"in the order of the file"`
	Trailer []cellFile                      `yaml:"trailer" about:"the last line: texts, rows, sum of FIELD"`
}

// controlFile is the shape of a control file: a line for each of the others.
type controlFile struct {
	Header  headerFile                   `yaml:"header" about:"yes: the names of the columns; or a list of texts"`
	Columns strictyaml.Ordered[cellFile] `yaml:"columns,required" about:"texts, file, rows, sum of FIELD, as of YYYYMMDD or another form of a date"`
}

type columnFile struct {
	From     string                     `yaml:"from" about:"the released field that it holds; of FHIR, or one value of it by its path, such as valueQuantity.value"`
	When     strictyaml.Ordered[string] `yaml:"when" about:"FIELD: VALUE; it holds the value only where the field is that"`
	Constant string                     `yaml:"constant" about:"the text that it holds in every row"`
	Empty    bool                       `yaml:"empty" about:"yes: it holds nothing"`
	RowKey   bool                       `yaml:"row_key" about:"yes: it holds the random key of the row"`
	Date     string                     `yaml:"date" words:"YYYY-MM-DD|YYYYMMDD|MM/DD/YYYY|M/D/YYYY|YYYY" about:"how a kept date is written"`
	Map      strictyaml.Ordered[string] `yaml:"map" about:"what each kept value becomes"`
	Else     string                     `yaml:"else" about:"of map: what all other values become, and none; not written: they reject their record. Of when: what stands there where it does not hold"`
	Width    int                        `yaml:"width" about:"of fixed-width: how many characters"`
	Align    string                     `yaml:"align" words:"left|right" about:"of fixed-width: left unless written"`
	Fill     string                     `yaml:"fill" words:"blanks|zeros" about:"of fixed-width: what fills the rest; zeros stand on the left, before digits only"`
}

// headerFile is yes, no, or the texts of the header.
type headerFile struct {
	names bool
	cells []cellFile
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (h *headerFile) UnmarshalNode(n strictyaml.Node) {
	if n.IsList() {
		n.Decode(&h.cells)
		return
	}
	n.Decode(&h.names)
}

// Schema implements strictyaml.Schemer.
func (*headerFile) Schema() map[string]any { return oneOf(schemaOf[bool](), schemaOf[[]cellFile]()) }

// cellFile is a cell of a header or trailer: a text, or one with its width.
type cellFile struct {
	at string
	wideCellFile
}

type wideCellFile struct {
	Text  string `yaml:"text,required" about:"of a trailer also rows, or sum of FIELD"`
	Width int    `yaml:"width" about:"of fixed-width: how many characters"`
	Align string `yaml:"align" words:"left|right" about:"of fixed-width: left unless written"`
	Fill  string `yaml:"fill" words:"blanks|zeros" about:"of fixed-width: what fills the rest; zeros stand on the left, before digits only"`
}

// UnmarshalNode implements strictyaml.Unmarshaler.
func (c *cellFile) UnmarshalNode(n strictyaml.Node) {
	if c.at = n.Path(); n.IsMap() {
		n.Decode(&c.wideCellFile)
		return
	}
	n.Decode(&c.Text)
}

// Schema implements strictyaml.Schemer.
func (*cellFile) Schema() map[string]any { return oneOf(schemaOf[string](), schemaOf[wideCellFile]()) }
