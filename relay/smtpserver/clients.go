package smtpserver

// Clients knows how many connections each client has, over the Servers of all listeners and those
// that a change of configuration has put in their place. Safe for concurrent use.
type Clients struct{}

// NewClients makes one that knows of nobody.
func NewClients() *Clients { return &Clients{} }
