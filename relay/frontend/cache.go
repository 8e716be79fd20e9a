package frontend

import (
	"strings"
	"sync"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

// cache keeps a next hop's answers to recipients for a while, so that it is not asked again at
// each RCPT of live mode. Only what is said of the address is kept (see kept); a yes is put to the
// test all the same before anything is sent, as the next hop is asked with the final envelope. A
// nil cache keeps nothing. Safe for concurrent use.
//
// It holds two generations of at most half the size: when the young one is full, the old one is
// forgotten. Who is asked for moves to the young one.
type cache struct {
	ttl  time.Duration
	half int

	mu         sync.Mutex
	young, old map[question]kept
}

// question is what an answer is the answer to. Local-parts are told apart as they are written
// (RFC 5321 §2.4), domains in small letters. From and client, who is another when it has logged in or
// greets by another name, are set where the answer may have been for them.
type question struct {
	to, from mail.Path
	client   mail.Client // without what changes with each connection
}

// kept is an answer, and by whom.
type kept struct {
	reply  reply.Reply
	remote string
	until  time.Time
}

// maxKeptText is the longest text of an answer that is kept: it bounds what an entry takes.
const maxKeptText = 512

func newCache(ttl time.Duration, size int) *cache {
	if ttl <= 0 || size <= 0 {
		return nil
	}
	return &cache{ttl: ttl, half: max(size/2, 1), young: map[question]kept{}}
}

// sure is the question whose answer depends on the recipient alone.
func sure(to mail.Path) question {
	to.Domain = strings.ToLower(to.Domain)
	return question{to: to}
}

// get returns an answer to the recipient that is still good, for this sender and client.
func (c *cache) get(to, from mail.Path, client mail.Client) (kept, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	q := sure(to)
	if k, ok := c.find(q); ok {
		return k, true
	}
	q.from, q.client = from, client
	return c.find(q)
}

func (c *cache) find(q question) (kept, bool) {
	k, ok := c.young[q]
	if !ok {
		if k, ok = c.old[q]; ok && time.Now().Before(k.until) {
			delete(c.old, q)
			c.add(q, k)
		}
	}
	if ok && !time.Now().Before(k.until) {
		delete(c.young, q)
		delete(c.old, q)
		return kept{}, false
	}
	return k, ok
}

func (c *cache) add(q question, k kept) {
	if len(c.young) >= c.half {
		c.old, c.young = c.young, make(map[question]kept, c.half/8)
	}
	c.young[q] = k
}

// learn takes note of an answer. One that cannot be kept ends what was kept before, unless it
// is no news of the recipient at all.
func (c *cache) learn(to, from mail.Path, client mail.Client, r reply.Reply, remote string) {
	if speaksOfUs(r.Code) {
		return
	}
	keep, depends := keeps(r)
	// What one client's reply says of that client, or of the sender, is not for others.
	keep = keep && len(r.Text()) <= maxKeptText && !names(r, from, client)
	c.mu.Lock()
	defer c.mu.Unlock()
	q := sure(to)
	narrow := question{q.to, from, client}
	for _, q := range []question{q, narrow} {
		delete(c.young, q)
		delete(c.old, q)
	}
	if depends {
		q = narrow
	}
	if keep {
		c.add(q, kept{r, remote, time.Now().Add(c.ttl)})
	}
}

// keeps reports whether an answer to RCPT is one about the address, and whether it may depend on
// the sender and the client too.
//
//	2yz                                     about the address; whatever else it is about will show
//	5yz with 5.1.1 to 5.1.4, 5.1.6, 5.1.10  about the address (RFC 3463 §3.2, RFC 7505 §4.2)
//	550, 551, 553 without an enhanced code  perhaps: kept for this sender and this client
//	any other                               not: 4yz passes, 5.1.7 and 5.1.8 are about the sender, 5.2.z
//	                                        about a mailbox that may be emptied, 5.7.z about permission
func keeps(r reply.Reply) (keep, depends bool) {
	switch e := r.Enhanced; {
	case taken(r):
		return true, false
	case !r.Permanent():
		return false, false
	case e.None:
		return r.Code == 550 || r.Code == 551 || r.Code == 553, true
	case e.Subject == 1 && (e.Detail >= 1 && e.Detail <= 4 || e.Detail == 6 || e.Detail == 10):
		return true, false
	}
	return false, false
}

// names reports whether a reply has the sender's address in it, or the client's.
func names(r reply.Reply, from mail.Path, client mail.Client) bool {
	text, addr := strings.ToLower(r.Text()), client.Remote.Addr()
	return !from.IsNull() && strings.Contains(text, strings.ToLower(from.String())) ||
		addr.IsValid() && strings.Contains(text, addr.Unmap().String())
}
