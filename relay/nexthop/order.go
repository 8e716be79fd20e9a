package nexthop

import "time"

// order is the addresses in the order they are to be tried: as the operator wrote them or, where
// they have weights, by chance. It is asked for each transaction, and an unused connection is taken
// at the first of them only, so that weights hold with a full pool as with an empty one. Those that
// failed lately come last, behind those of weight 0 too: for those it is the time.
func (h *Hop) order() ([]*address, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.addresses) == 0 {
		return nil, errNoAddresses
	}
	now := time.Now()
	anyBad := false
	for _, a := range h.addresses {
		anyBad = anyBad || now.Before(a.badUntil)
	}
	if !anyBad && len(h.cfg.Weights) == 0 {
		return h.addresses, nil
	}
	all := make([]*address, 0, len(h.addresses))
	for _, late := range []bool{false, true} {
		for _, backup := range []bool{false, true} {
			from := len(all)
			for _, a := range h.addresses {
				if now.Before(a.badUntil) == late && (a.weight == 0) == backup {
					all = append(all, a)
				}
			}
			if len(h.cfg.Weights) > 0 && !backup {
				h.shuffle(all[from:])
			}
		}
	}
	return all, nil
}

// shuffle draws one after the other, each as likely as its weight among those that are left.
func (h *Hop) shuffle(all []*address) {
	total := 0
	for _, a := range all {
		total += a.weight
	}
	for ; len(all) > 1; all = all[1:] {
		drawn := h.draw(total)
		i := 0
		for drawn >= all[i].weight {
			drawn -= all[i].weight
			i++
		}
		total -= all[i].weight
		first := all[i]
		copy(all[1:i+1], all[:i])
		all[0] = first
	}
}
