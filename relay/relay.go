package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"example.org/relay/relay/agents"
	"example.org/relay/relay/auth"
	"example.org/relay/relay/certificate"
	"example.org/relay/relay/config"
	"example.org/relay/relay/control"
	"example.org/relay/relay/event"
	"example.org/relay/relay/frontend"
	"example.org/relay/relay/nexthop"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/smtpserver"
)

// Version is the relay's own version.
const Version = "0.1.0"

// drainTime is how long running transactions may take to finish when the relay goes down.
const drainTime = 30 * time.Second

// Relay is a running relay. Its methods are safe for concurrent use.
type Relay struct {
	path     string // of the configuration file
	stateDir string // the one in use
	log      *slog.Logger
	started  time.Time

	registry *agents.Registry
	agents   *agents.Host
	pipeline *pipeline.Pipeline
	building sync.Mutex // held while the pipeline is made of the agents
	front    *frontend.FrontEnd
	seal     *frontend.Seal
	tls      *certificate.Store
	clients  *smtpserver.Clients
	users    *auth.File

	// begun is closed when the relay listens, or has found that it cannot.
	begun chan struct{}
	// reloading is held from the reading of a changed configuration on: else an older one could be
	// put in the place of a newer one.
	reloading sync.Mutex
	// mu is held while a change of configuration is put in force, and by no message.
	mu        sync.Mutex
	cfg       *config.Config
	hop       *nexthop.Hop
	listeners []*listener
	draining  bool
}

// New reads the configuration and prepares a relay: its state directory is locked, its next
// hop known, nothing listens yet. Close it, or Run it.
func New(path string, log *slog.Logger) (*Relay, error) {
	cfg, err := Load(path)
	if err != nil {
		return nil, err
	}
	r := &Relay{
		path: path, stateDir: cfg.StateDir, log: log, started: time.Now(), cfg: cfg,
		clients: smtpserver.NewClients(), begun: make(chan struct{}),
	}
	r.clients.SetOutgoing(hopConfig(cfg).MaxConnections)
	if err := os.MkdirAll(cfg.StateDir, 0o700); err != nil {
		return nil, fmt.Errorf("state directory: %w", err)
	}
	certificates, err := r.certificates(cfg)
	if err != nil {
		return nil, err
	}
	if r.tls, err = certificate.New(certificates, log); err != nil {
		return nil, err
	}
	r.users = auth.NewFile(filepath.Join(cfg.StateDir, "users.secret"))
	users, err := r.users.Read(cfg.Auth.Users)
	if err != nil {
		return nil, err
	}
	r.setUsers(users, cfg.Auth.Users)
	r.pipeline = pipeline.New(event.FrontEnd, cfg.Domains())
	r.hop = nexthop.New(hopConfig(cfg), log)
	if r.seal, err = frontend.OpenSeal(filepath.Join(cfg.StateDir, "submit.key")); err != nil {
		return nil, err
	}
	r.front = frontend.New(settings(cfg, r.hop, r.seal), log)
	if r.registry, err = agents.OpenRegistry(cfg.StateDir); err != nil {
		return nil, err
	}
	if r.agents, err = agents.New(hostOptions(cfg, r.registry, log, r.rebuild)); err != nil {
		return nil, errors.Join(err, r.registry.Close())
	}
	return r, nil
}

// Load reads a configuration and says all that is wrong with it, also what a relay of this
// version could not start with. The error is config.Problems, or that of a file that cannot be
// read.
func Load(path string) (*config.Config, error) {
	cfg, err := config.Load(path)
	if err != nil {
		return nil, err
	}
	switch {
	case cfg.FrontEnd == nil:
		return nil, config.Problems{{File: cfg.File, Key: "frontend", Text: "is missing: this version runs the FrontEnd service only"}}
	case cfg.FrontEnd.NextHop == config.HubNextHop:
		return nil, config.Problems{{
			File: cfg.File, Key: "frontend.next_hop", Text: `is "hub", and this version has no Hub; name a [next_hop.…]`,
		}}
	}
	return cfg, nil
}

// hostOptions are what the host of agents needs to know of the configuration.
func hostOptions(cfg *config.Config, registry *agents.Registry, log *slog.Logger, changed func(event.Role)) agents.Options {
	return agents.Options{
		Registry: registry,
		Services: cfg.Services(),
		Defaults: agentDefaults(cfg),
		Log:      log,
		Version:  Version,
		OnChange: changed,
	}
}

func agentDefaults(cfg *config.Config) agents.Defaults {
	return agents.Defaults{
		Hostname: cfg.Hostname, Domains: cfg.Domains().Names(), Timeout: cfg.Agents.Timeout, OnFailure: cfg.Agents.OnFailure,
		Confine: confine(cfg.Agents), Protected: protected(cfg),
	}
}

// protected are the files of the configuration that hold secrets, and itself.
func protected(cfg *config.Config) []string {
	all := []string{cfg.File, cfg.Auth.Users}
	for _, p := range cfg.TLSPairs {
		all = append(all, p.Key)
	}
	for _, h := range cfg.NextHops {
		all = append(all, h.Key)
		if h.Auth != nil {
			all = append(all, h.Auth.PasswordFile, h.Auth.TokenFile)
		}
	}
	return slices.DeleteFunc(all, func(path string) bool { return path == "" })
}

func confine(a config.Agents) agents.Confine {
	memory := uint64(a.Memory)
	return agents.Confine{
		Sessions: &a.Sessions, Memory: &memory, Processor: &a.Processor, Processes: &a.Processes, User: &a.User, ReadOnly: &a.ReadOnly,
	}
}

func hopConfig(cfg *config.Config) nexthop.Config {
	h := cfg.NextHops[cfg.FrontEnd.NextHop]
	policy, _ := nexthop.ParseTLSPolicy(h.TLS) // config has checked it
	return nexthop.Config{
		Name: h.Name, Addresses: h.Addresses, Weights: h.Weights, LMTP: h.Protocol == "lmtp", TLS: policy, TLSName: h.TLSName, CA: h.CA,
		Certificate: h.Certificate, Key: h.Key, Auth: hopAuth(h.Auth), Hostname: cfg.Hostname,
		ForwardClient: nexthop.ForwardClient(h.ForwardClient), MaxConnections: h.Connections,
	}
}

func hopAuth(a *config.NextHopAuth) nexthop.Auth {
	if a == nil {
		return nexthop.Auth{}
	}
	file := a.PasswordFile
	if a.Mechanism == "xoauth2" {
		file = a.TokenFile
	}
	return nexthop.Auth{Mechanism: a.Mechanism, Username: a.Username, SecretFile: file}
}

func settings(cfg *config.Config, h *nexthop.Hop, seal *frontend.Seal) frontend.Settings {
	return frontend.Settings{
		Hostname: cfg.Hostname, NextHop: hop{h}, Seal: seal, Domains: cfg.Domains(),
		RecipientCheck:    frontend.Check(cfg.FrontEnd.RecipientCheck),
		RecipientCacheTTL: cfg.FrontEnd.RecipientCacheTTL, RecipientCacheSize: cfg.FrontEnd.RecipientCacheSize,
	}
}

// setUsers puts a users file in force.
func (r *Relay) setUsers(v *auth.Version, path string) {
	r.users.Set(v)
	if s := auth.Exposed(path); path != "" && s != "" {
		r.log.Warn("users file is not safe", "cause", s)
	}
}

// rebuild puts the agents as they are now in force for the transactions to come.
func (r *Relay) rebuild(role event.Role) {
	// One at a time: else an older list could be put in the place of a newer one.
	r.building.Lock()
	defer r.building.Unlock()
	if role == r.pipeline.Role {
		r.pipeline.Set(bindings(r.agents.InForce(role)))
	}
}

// Run listens and serves until ctx ends, then lets running transactions finish and returns.
// The control socket answers before the listeners do.
func (r *Relay) Run(ctx context.Context) (err error) {
	defer func() { err = errors.Join(err, r.Close()) }()
	stop, cancel := context.WithCancel(context.Background())
	defer cancel()
	ctl, err := control.Listen(r.stateDir)
	if err != nil {
		return err
	}
	r.agents.Start() // before the first command may change any
	r.rebuild(r.pipeline.Role)
	ended := make(chan error, 1)
	go func() { ended <- control.Serve(stop, ctl, r, r.log) }()
	defer func() { cancel(); <-ended }()

	for _, what := range r.cfg.NotInForce() {
		r.log.Warn("not in force in this version", "what", what)
	}
	r.tls.Start()
	defer r.tls.Close()
	r.learnHop(stop)
	watched := make(chan struct{})
	go func() { defer close(watched); r.users.Watch(stop, r.log) }()
	defer func() { cancel(); <-watched }()
	if err := r.listen(); err != nil {
		return err
	}
	<-ctx.Done()
	return r.drain()
}

// learnHop asks the next hop what it offers, so that the first client is offered the same. It
// does not wait long: the relay listens whether or not the next hop is there.
func (r *Relay) learnHop(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if err := r.hop.Probe(ctx); err != nil {
		r.log.Warn("next hop does not answer yet; clients get 451 until it does", "next_hop", r.cfg.FrontEnd.NextHop, "cause", err)
	}
}

// listen opens all listeners or none.
func (r *Relay) listen() error {
	defer close(r.begun)
	r.mu.Lock()
	defer r.mu.Unlock()
	opened, err := openListeners(r.cfg.FrontEnd.Listeners, nil, r.log)
	if err != nil {
		r.draining = true
		return err
	}
	r.listeners = opened
	r.log.Info("connections", "at_most", r.clients.Max(), "by", "descriptors")
	r.checkConnections(r.cfg)
	r.checkNarrowed(r.cfg)
	for i, l := range opened {
		l.serve(r.server(r.cfg, r.cfg.FrontEnd.Listeners[i]))
		r.logListening(l, r.cfg.FrontEnd.Listeners[i])
	}
	return nil
}

func (r *Relay) logListening(l *listener, as config.Listener) {
	r.log.Info("listening", "service", "FrontEnd", "address", l.Addr().String(), "tls", as.TLS)
}

// checkConnections says where more connections are allowed than there can be.
func (r *Relay) checkConnections(cfg *config.Config) {
	for _, l := range cfg.FrontEnd.Listeners {
		if l.Limits.Connections > r.clients.Max() {
			r.log.Warn("limits.connections is more than the descriptors allow: raise the limit of open files (LimitNOFILE)",
				"listener", l.Address, "connections", l.Limits.Connections, "at_most", r.clients.Max())
		}
	}
}

// checkNarrowed says which enabled agents are narrowed to a listener that is gone.
func (r *Relay) checkNarrowed(cfg *config.Config) {
	listeners := listenerAddresses(cfg.FrontEnd.Listeners)
	for _, a := range r.agents.Enabled(event.FrontEnd) {
		if err := agents.CheckOnly(a.Only(), listeners); err != nil {
			r.log.Warn("agent is narrowed to what is not there", "agent", a.Name(), "service", string(event.FrontEnd), "cause", err)
		}
	}
}

func listenerAddresses(all []config.Listener) []string {
	addresses := make([]string, len(all))
	for i := range all {
		addresses[i] = all[i].Address
	}
	return addresses
}

// openListeners opens those of the wanted that are not among the old, which it takes over.
func openListeners(wanted []config.Listener, old []*listener, log *slog.Logger) ([]*listener, error) {
	var all []*listener
	for _, w := range wanted {
		l := find(old, w.Address)
		if l == nil {
			var err error
			if l, err = listen(w.Address, log); err != nil {
				if own := overlapping(old, w.Address); own != "" && errors.Is(err, syscall.EADDRINUSE) {
					err = fmt.Errorf("%w: by this relay, as %s; changing one into the other takes a restart", err, own)
				}
				closeFresh(all, old)
				return nil, err
			}
		}
		all = append(all, l)
	}
	return all, nil
}

// closeFresh closes those of the opened that are not among the old: nothing came of them.
func closeFresh(opened, old []*listener) {
	for _, l := range opened {
		if find(old, l.address) == nil {
			l.Listener.Close()
		}
	}
}

// overlapping returns the address of a listener on the same port, or "".
func overlapping(old []*listener, address string) string {
	_, port, _ := net.SplitHostPort(address)
	for _, l := range old {
		if _, p, _ := net.SplitHostPort(l.address); p == port {
			return l.address
		}
	}
	return ""
}

func find(all []*listener, address string) *listener {
	for _, l := range all {
		if l.address == address {
			return l
		}
	}
	return nil
}

// drain ends the listeners: idle sessions are told 421 at once, running transactions finish.
func (r *Relay) drain() error {
	r.mu.Lock()
	r.draining = true
	listeners := r.listeners
	r.mu.Unlock()
	r.log.Info("draining", "at_most", drainTime.String())
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	err := shutdownAll(ctx, listeners)
	if errors.Is(err, context.DeadlineExceeded) {
		r.log.Warn("sessions cut off at the end of the drain time")
		err = nil
	}
	r.log.Info("stopped")
	return err
}

func shutdownAll(ctx context.Context, listeners []*listener) error {
	errs := make([]error, len(listeners))
	var wg sync.WaitGroup
	for i, l := range listeners {
		wg.Go(func() { errs[i] = l.shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// Close lets go of agents, next hop and state directory. Run does it by itself.
func (r *Relay) Close() error {
	r.hop.Close()
	return errors.Join(r.agents.Close(), r.registry.Close())
}

// Addresses are those the relay listens on, for tests and status.
func (r *Relay) Addresses() []net.Addr {
	r.mu.Lock()
	defer r.mu.Unlock()
	var all []net.Addr
	for _, l := range r.listeners {
		all = append(all, l.Addr())
	}
	return all
}
