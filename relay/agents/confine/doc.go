// Package confine starts programs that may use and see less than the program that starts them.
// It knows nothing of agents: package agents says what each may, and hands on to get-agent the
// sentences that say how that is kept.
//
// A Machine is what this kernel and our own rights allow. Of a Policy it makes a Plan, which
// says by what each part of it is enforced, or why it cannot be. Plan.Start starts the process
// in a Cell, on an operating system thread of its own: control group, network namespace,
// capabilities, Landlock and seccomp belong to a thread and are inherited by what it forks, so
// that the process is confined before its first instruction. The thread ends with the process
// and nothing else ever runs on it.
package confine
