package mail

// Param is one parameter of MAIL or RCPT (RFC 5321 §4.1.2 esmtp-param).
type Param struct {
	Keyword  string // upper case
	Value    string // as the client gave it; no CR, LF, NUL or space
	HasValue bool   // whether "=" was there
}

// Params are the parameters of one command, in the client's order. A keyword
// occurs at most once.
type Params []Param

// Get returns the value of keyword (upper case) and whether it is there.
func (p Params) Get(keyword string) (string, bool) {
	for i := range p {
		if p[i].Keyword == keyword {
			return p[i].Value, true
		}
	}
	return "", false
}

// Recipient is one forward-path of an envelope.
type Recipient struct {
	// ID is stable in the transaction and never used again in it; the first is 1.
	ID   uint32
	Path Path
	// Original is the address that the client gave, the only one that it may be told of.
	// Null for a recipient that an agent added.
	Original Path
	Params   Params // NOTIFY, ORCPT; replaced, never changed in place
}

// Envelope is what SMTP says of a message beside its content (RFC 5321 §2.3.1).
// Not safe for concurrent use.
type Envelope struct {
	ID         string // of the message: in the log, the trace and the reply to the client
	From       Path
	Params     Params // of MAIL: SIZE, BODY, SMTPUTF8, RET, ENVID, AUTH, REQUIRETLS; replaced, never changed in place
	Recipients []Recipient

	// Revision rises with each change. Whoever shows the envelope on keeps the revision shown.
	Revision uint64
	lastID   uint32 // Invariant: ≥ every Recipient.ID ever given out.
}

// Add appends a recipient, gives it the next ID and returns it.
func (e *Envelope) Add(r Recipient) Recipient {
	e.lastID++
	r.ID = e.lastID
	e.Recipients = append(e.Recipients, r)
	e.Revision++
	return r
}

// Index returns the position of the recipient with this ID, or -1.
func (e *Envelope) Index(id uint32) int {
	for i := range e.Recipients {
		if e.Recipients[i].ID == id {
			return i
		}
	}
	return -1
}

// Remove takes the recipient with this ID out and reports whether it was there.
func (e *Envelope) Remove(id uint32) bool {
	i := e.Index(id)
	if i < 0 {
		return false
	}
	e.Recipients = append(e.Recipients[:i], e.Recipients[i+1:]...)
	e.Revision++
	return true
}

// SetParams replaces the parameters of MAIL.
func (e *Envelope) SetParams(p Params) {
	e.Params = p
	e.Revision++
}

// SetRcptParams replaces those of the recipient at this index of Recipients.
func (e *Envelope) SetRcptParams(i int, p Params) {
	e.Recipients[i].Params = p
	e.Revision++
}

// SetFrom replaces the reverse-path.
func (e *Envelope) SetFrom(p Path) {
	e.From = p
	e.Revision++
}

// Replace puts paths in the place of the recipient with this ID, which is reported
// to be there or not. Those that come in its place keep its parameters and its
// original address, since to the client they are that recipient.
func (e *Envelope) Replace(id uint32, paths []Path) bool {
	i := e.Index(id)
	if i < 0 {
		return false
	}
	old := e.Recipients[i]
	with := make([]Recipient, 0, len(e.Recipients)-1+len(paths))
	with = append(with, e.Recipients[:i]...)
	for _, p := range paths {
		e.lastID++
		with = append(with, Recipient{ID: e.lastID, Path: p, Original: old.Original, Params: old.Params})
	}
	e.Recipients = append(with, e.Recipients[i+1:]...)
	e.Revision++
	return true
}

// Clone returns a copy that shares nothing which either may change.
func (e *Envelope) Clone() *Envelope {
	c := *e
	c.Recipients = append([]Recipient(nil), e.Recipients...)
	return &c
}

// Extensions are the SMTP service extensions that a server offers.
type Extensions struct {
	Pipelining          bool
	EightBitMIME        bool
	SMTPUTF8            bool
	DSN                 bool
	EnhancedStatusCodes bool
	Chunking            bool
	StartTLS            bool
	RequireTLS          bool
	Auth                bool
	// SizeOffered and Size: RFC 1870. Size 0 with SizeOffered means no fixed limit.
	SizeOffered bool
	Size        int64 // octets
	// RcptMax and MailMax are the recipients of one transaction and the transactions of one
	// connection (LIMITS, RFC 9422); 0: nothing was said.
	RcptMax, MailMax int
}
