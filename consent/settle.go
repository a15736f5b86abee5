package consent

import "strings"

// settleDirectives judges once what no record changes: whom, from whom, for
// what and by which act each provision is, and which forms are attested.
func (d *Decider) settleDirectives() {
	ds := d.tables.Directives
	if ds == nil {
		return
	}
	names := d.names()
	d.who = make([]match, len(ds.who.values))
	for i := range d.who {
		w := &ds.who.values[i]
		d.who[i] = min(w.action, d.recipients(w.recipients, names), custodians(w.custodians, d.request.Self), d.purposes(w.purposes))
	}
	d.accepted = make([]bool, len(ds.forms.values))
	for i := range d.accepted {
		for _, name := range ds.forms.values[i].names {
			d.accepted[i] = d.accepted[i] || contains(d.rules.AcceptForms, []byte(name)) || contains(d.rules.AcceptForms, []byte(lastSegment(name)))
		}
	}
}

func (d *Decider) purposes(rule []string) match {
	m := no
	for _, want := range rule {
		m = max(m, purposeMatches(want, d.request.Policy.Purpose))
	}
	if len(rule) == 0 {
		return yes
	}
	return m
}

func (d *Decider) recipients(rule []string, names map[string]match) match {
	m := no
	for _, want := range rule {
		switch value := want[1:]; {
		case want == unclear:
			m = max(m, unsure)
		case want[0] == byKind && value == d.request.RecipientKind:
			return yes
		case want[0] == byName:
			m = max(m, meant(names, value))
		case want[0] == byReference:
			m = max(m, sameReference(value, d.request.Organizations, d.request.Others))
		}
	}
	if len(rule) == 0 {
		return yes
	}
	return m
}

func custodians(rule, self []string) match {
	m := no
	for _, want := range rule {
		m = max(m, sameReference(want[1:], self, nil))
	}
	if len(rule) == 0 {
		return yes
	}
	return m
}

// sameReference tells whether a reference means one of ours. One that is
// neither ours nor known to be another's cannot be told; a patient or a
// relative is no organization.
func sameReference(ref string, ours, others []string) match {
	switch kind, _ := splitReference(ref); {
	case named(ref, ours):
		return yes
	case named(ref, others), kind == "Patient" || kind == "RelatedPerson":
		return no
	}
	return unsure
}

// named compares a reference with names: as written, by type and id, or by the
// value of an identifier.
func named(ref string, names []string) bool {
	kind, id := splitReference(ref)
	for _, n := range names {
		if n == "" {
			continue
		}
		if n == ref || kind != "" && n == kind+"/"+id || strings.Contains(ref, "|") && n == lastSegment(ref) {
			return true
		}
	}
	return false
}
