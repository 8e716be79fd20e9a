package agents

// Confine is what a process of an agent may use and see, as the operator has set it. In the
// zero value everything is as [agents] has it.
type Confine struct {
	Sessions  *int     // at the same time, beside what the agent says itself; 0: no limit
	Memory    *uint64  // octets; 0: no limit
	Processor *int     // percent of one processor; 0: no limit
	Processes *int     // processes and threads; 0: no limit
	User      *string  // the system user it runs as; "": the relay's own
	ReadOnly  *bool    // it can read the system and its program's folder, and write its own folders only
	ReadPaths []string // absolute: what else it can read with ReadOnly
}

// over puts what c sets in the place of what d has.
func (c Confine) over(d Confine) Confine {
	if c.Sessions != nil {
		d.Sessions = c.Sessions
	}
	if c.Memory != nil {
		d.Memory = c.Memory
	}
	if c.Processor != nil {
		d.Processor = c.Processor
	}
	if c.Processes != nil {
		d.Processes = c.Processes
	}
	if c.User != nil {
		d.User = c.User
	}
	if c.ReadOnly != nil {
		d.ReadOnly = c.ReadOnly
	}
	if c.ReadPaths != nil {
		d.ReadPaths = c.ReadPaths
	}
	return d
}
