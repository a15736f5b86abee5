package consent

import "github.com/posternhealth/postern/extract"

// Revocation is something by which a patient, or who decides for the patient,
// has closed what may have been open: a permit taken back or expired by its
// status, a denial (an opt-out is one), a restriction, and what cannot be read
// and so closes too. The agent measures how long it takes until it counts.
type Revocation struct {
	Key     [16]byte // names the row across readings, as ClosingRow.Key does
	Subject Subject
	Kind    string      // revoked, expired, declined, denied, unreadable, restricted-self-pay, restricted-agreed
	Day     extract.Day // on which it was signed; of a permit that is over, on which it ended. NoDay when nothing tells
	File    string      // where it stands, as its loader was told; "" or an earlier file when it has vanished
}

// Revocations gives those that are not over by a day, in the order of loading.
func (d *Directives) Revocations(on extract.Day) (list []Revocation) {
	for i := range d.list {
		n, from := &d.list[i], &d.sources[i]
		kind := d.kind(n)
		if kind == "" || kind == "denied" && n.ended != extract.NoDay && n.ended <= on {
			continue
		}
		day := n.signed
		if kind == "revoked" || kind == "expired" {
			day = n.ended
		}
		list = append(list, Revocation{from.identity, from.subject, kind, day, d.files[from.file]})
	}
	return list
}

// kind names what a directive closes by; "" for one that closes nothing.
func (d *Directives) kind(n *directive) string {
	closes := d.closes(n)
	switch {
	case n.unreadable():
		return "unreadable"
	case n.status == expired && n.scope < otherMatters && d.tree(n)[0].effect == permit:
		return "expired"
	case !closes:
		return ""
	case n.status == revoked:
		return "revoked"
	case n.status == refused:
		return "declined"
	}
	return "denied"
}

// Revocations gives the restrictions that are not over by a day.
func (rs *Restrictions) Revocations(on extract.Day) (list []Revocation) {
	kinds := [...]string{"restricted-self-pay", "restricted-agreed", "unreadable"}
	for i := range rs.list {
		r, file := &rs.list[i], ""
		if r.ended != extract.NoDay && r.ended <= on {
			continue
		}
		if !r.earlier {
			file = rs.files[r.file]
		}
		list = append(list, Revocation{r.identity, r.subject, kinds[r.kind], extract.NoDay, file})
	}
	return list
}
