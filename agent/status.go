package agent

import "context"

// ExchangeStatus is where an exchange stands.
type ExchangeStatus struct {
	Exchange  string `json:"exchange"`
	Recipient string `json:"recipient"`
	HeldBy    string `json:"held_by,omitempty"`
	Approval  string `json:"approval"` // "approved", or what is awaited
	Drops     int    `json:"drops"`
	Newest    int64  `json:"newest,omitempty"` // number of the newest drop
	State     string `json:"state,omitempty"`  // of the newest drop
	Attention int    `json:"attention"`        // drops that a person should look at, those in quarantine among them
	Stopped   int    `json:"stopped"`          // of them in quarantine: nothing of them was sent
	Open      int    `json:"open_differences"` // between what was sent and what was answered
	Next      string `json:"next,omitempty"`   // civil time of the next occurrence

	Calendar
}

// Status tells of every configured exchange where it stands.
func (a *Agent) Status(ctx context.Context) ([]ExchangeStatus, error) {
	upcoming, err := a.Config.Upcoming(a.Now(), 1)
	if err != nil {
		return nil, err
	}
	var list []ExchangeStatus
	for _, e := range a.Config.Exchanges {
		s := ExchangeStatus{Exchange: e.Key, Recipient: e.Value.Recipient}
		if _, s.HeldBy, err = a.Held(ctx, e.Key); err != nil {
			return nil, err
		}
		if approval, err := a.Approval(ctx, e.Key); err != nil {
			s.Approval = "refused; `postern check` says why"
		} else {
			s.Approval = approval.String()
		}
		drops, err := a.Drops(ctx, e.Key)
		if err != nil {
			return nil, err
		}
		s.Drops = len(drops)
		for i := range drops {
			s.Newest, s.State = drops[i].Number, drops[i].State
			if drops[i].Attention() {
				s.Attention++
			}
		}
		differences, err := a.Differences(ctx, e.Key, 0)
		if err != nil {
			return nil, err
		}
		for _, d := range differences {
			if s.Open++; d.Number == 0 {
				s.Attention++
			}
		}
		quarantines, err := a.Quarantines(ctx, e.Key)
		if err != nil {
			return nil, err
		}
		for _, q := range quarantines {
			if q.State != Settled {
				s.Stopped++
				s.Attention++
			}
		}
		for _, o := range upcoming {
			if o.Exchange == e.Key {
				s.Next = o.Civil
			}
		}
		var late bool
		if s.Calendar, late, err = a.calendar(ctx, e.Key, e.Value, drops, s.Next); err != nil {
			return nil, err
		}
		if late {
			s.Attention++
		}
		list = append(list, s)
	}
	return list, nil
}
