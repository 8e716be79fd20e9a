package relay

import (
	"context"
	"fmt"
	"net/netip"
	"reflect"
	"slices"

	"example.org/relay/proto/control/v1"
	"example.org/relay/relay/config"
	"example.org/relay/relay/nexthop"
	"example.org/relay/relay/smtpserver"
)

// Reload reads the configuration again and puts it in force for the sessions and
// transactions to come: all of it, or, where anything is wrong with it, nothing. One that comes before the
// relay listens waits for that.
func (r *Relay) Reload(ctx context.Context, q *controlv1.ReloadRequest) (*controlv1.ReloadResponse, error) {
	select {
	case <-r.begun:
	case <-ctx.Done():
		return nil, fmt.Errorf("the relay does not listen yet: %w", context.Cause(ctx))
	}
	r.reloading.Lock()
	defer r.reloading.Unlock()
	cfg, err := Load(r.path)
	if err != nil {
		return nil, err
	}
	certificates, err := r.certificates(cfg)
	if err != nil {
		return nil, err
	}
	users, err := r.users.Read(cfg.Auth.Users)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.draining {
		return nil, fmt.Errorf("the relay is going down")
	}
	certs, err := r.tls.Prepare(certificates)
	if err != nil {
		return nil, err
	}
	listeners, err := openListeners(cfg.FrontEnd.Listeners, r.listeners, r.log)
	if err != nil {
		certs.Discard()
		return nil, err
	}
	if err := r.agents.Check(ctx, agentDefaults(cfg)); err != nil {
		certs.Discard()
		closeFresh(listeners, r.listeners)
		return nil, err
	}
	response := &controlv1.ReloadResponse{Changed: changes(r.cfg, cfg)}
	if !users.Same(r.users.Current()) && !slices.Contains(response.Changed, "auth") {
		response.Changed = append(response.Changed, "auth")
	}
	if certs.Renewed() && !slices.Contains(response.Changed, "tls.pair") {
		response.Changed = append(response.Changed, "tls.pair")
	}
	if cfg.StateDir != r.stateDir {
		response.NeedsRestart = append(response.NeedsRestart, "state_dir")
	}
	if q.GetWhatIf() {
		certs.Discard()
		closeFresh(listeners, r.listeners)
		return response, nil
	}
	certs.Commit()
	r.setUsers(users, cfg.Auth.Users)
	r.pipeline.SetDomains(cfg.Domains())
	if err := r.agents.Update(ctx, agentDefaults(cfg)); err != nil {
		// They have been asked before: what is left is one that hangs or has just died.
		r.log.Error("agents not told of the new configuration", "cause", err)
	}
	oldHop := r.hop
	if !reflect.DeepEqual(hopConfig(r.cfg), hopConfig(cfg)) {
		r.hop = nexthop.New(hopConfig(cfg), r.log)
	}
	r.front.Set(settings(cfg, r.hop, r.seal))
	r.clients.SetOutgoing(hopConfig(cfg).MaxConnections)
	old := r.listeners
	r.cfg, r.listeners = cfg, listeners
	for i, l := range listeners {
		l.serve(r.server(cfg, cfg.FrontEnd.Listeners[i]))
		if find(old, l.address) == nil {
			r.logListening(l, cfg.FrontEnd.Listeners[i])
		}
	}
	if oldHop != r.hop {
		oldHop.Close() // idle connections; those lent out are closed when they come back
		r.learnHop(ctx)
	}
	for _, l := range old {
		if find(listeners, l.address) == nil {
			r.log.Info("listens no more", "service", "FrontEnd", "address", l.Addr().String())
			go r.retire(l)
		}
	}
	r.checkConnections(cfg)
	r.checkNarrowed(cfg)
	for _, what := range response.Changed {
		r.log.Info("configuration changed", "what", what)
	}
	return response, nil
}

// retire ends a listener that the configuration does not name any more.
func (r *Relay) retire(l *listener) {
	ctx, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := l.shutdown(ctx); err != nil {
		r.log.Warn("listener removed, sessions cut off", "address", l.address, "cause", err)
	}
}

// changes names the parts of the configuration that differ.
func changes(old, now *config.Config) []string {
	var all []string
	for _, part := range []struct {
		name     string
		old, now any
	}{
		{"hostname", old.Hostname, now.Hostname},
		{"accepted_domain", old.AcceptedDomains, now.AcceptedDomains},
		{"tls.pair", old.TLSPairs, now.TLSPairs},
		{"tls.acme", old.ACME, now.ACME},
		{"next_hop", old.NextHops, now.NextHops},
		{"frontend", old.FrontEnd, now.FrontEnd},
		{"limits", old.Limits, now.Limits},
		{"networks", old.Networks, now.Networks},
		{"auth", old.Auth, now.Auth},
		{"agents", old.Agents, now.Agents},
	} {
		if !reflect.DeepEqual(part.old, part.now) {
			all = append(all, part.name)
		}
	}
	return all
}

// among reports whether a client is in one of the networks.
func among(networks []netip.Prefix) func(netip.Addr) bool {
	return func(client netip.Addr) bool {
		return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(client.Unmap()) })
	}
}

func limits(l config.Limits) smtpserver.Limits {
	return smtpserver.Limits{
		MessageSize: l.MessageSize, Recipients: l.Recipients, HeaderSize: int(l.HeaderSize), HeaderFields: l.HeaderFields,
		CommandTimeout: l.CommandTimeout, DataTimeout: l.DataTimeout, MessageTimeout: l.MessageTimeout, SessionTimeout: l.SessionTimeout,
		MinimumRate: l.MinimumRate, Errors: l.Errors, UnknownCommands: l.UnknownCommands, AuthFailures: l.AuthFailures,
		Connections: l.Connections, ConnectionsPerAddress: l.ConnectionsPerAddress, ConnectionsPerNetwork: l.ConnectionsPerNetwork,
		Tarpit: l.Tarpit, GreetingDelay: l.GreetingDelay, AuthFailuresPerAddress: l.AuthFailuresPerAddress,
		RepairLineEnds: l.BareLineEnds == "repair",
	}
}

// server makes the server of one listener from a configuration.
func (r *Relay) server(cfg *config.Config, l config.Listener) *smtpserver.Server {
	var logins smtpserver.Authenticator
	if l.Auth != "none" {
		logins = authenticator{r.users}
	}
	return smtpserver.New(smtpserver.Config{
		Hostname: cfg.Hostname,
		Banner:   l.Banner,
		Listener: l.Address,
		TLSMode:  smtpserver.TLSMode(l.TLS),
		TLS:      r.tls.TLS(l.ClientCertificate == "request"),
		Limits:   limits(l.Limits),
		Internal: among(l.Networks.Relay),
		Proxy:    among(l.Networks.Proxy),
		XClient:  among(l.Networks.XClient),
		Clients:  r.clients,
		Auth:     logins,

		AuthRequired: l.Auth == "required",

		Pipeline: r.pipeline,
		Backend:  backend{r.front},
		Log:      r.log,
	})
}
