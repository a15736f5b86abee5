package extract

// Enum lists the only values that the schema lets the cells of a column have;
// nil when it does not say.
func (f *Field) Enum() []string { return f.rules.enum }
