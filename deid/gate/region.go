package gate

// Region is one of the four regions of the Census Bureau, or, as divisions, one of
// its nine divisions, by name. West is a surname, too: elsewhere it is looked for.
func Region(divisions bool) Grammar {
	if divisions {
		return decided(among([]string{"New England", "Middle Atlantic", "East North Central", "West North Central", "South Atlantic",
			"East South Central", "West South Central", "Mountain", "Pacific"}))
	}
	return decided(among([]string{"Northeast", "Midwest", "South", "West"}))
}
