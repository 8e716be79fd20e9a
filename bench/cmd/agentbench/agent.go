package main

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"sync/atomic"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
)

// agentPeer is agent processes and the relay's end of its protocol: a
// FrontEnd's pipeline, used as the FrontEnd and the SMTP server use it.
type agentPeer struct {
	pipeline  *pipeline.Pipeline
	notify    bool // the agent decides only the end of headers
	processes []int
	cleanups  []func() error
	ids       atomic.Int64
}

func (a *agentPeer) pids() []int { return a.processes }

var (
	sender    = mail.Path{Local: "sender", Domain: "example.com"}
	recipient = mail.Path{Local: "recipient", Domain: "example.org"}
	header    = mail.ParseHeader(headerRaw)
)

// session is one SMTP session of one message: what smtpserver and frontend do
// with the pipeline, in their order.
func (a *agentPeer) session(rec *recorder) error {
	ctx := context.Background()
	id := strconv.FormatInt(a.ids.Add(1), 36)
	s := a.pipeline.Open(id, &event.Connection{
		Remote:   netip.AddrPortFrom(netip.MustParseAddr(clientIP), clientPort),
		Local:    netip.MustParseAddrPort("192.0.2.1:25"),
		Listener: "192.0.2.1:25",
		Started:  time.Now(),
	})
	defer s.Close(event.DisconnectQuit)
	var err error
	fire := func(ev event.Event) {
		if err != nil {
			return
		}
		start := time.Now()
		d := s.Fire(ctx, ev)
		if d.Err != nil || d.Action != event.Continue {
			err = fmt.Errorf("%s came to %s: %v", ev.Kind, d.Action, d.Err)
		}
		if !a.notify || ev.Kind == event.EndOfHeaders {
			rec.trip(start)
		}
	}
	fire(event.Event{Kind: event.Connect})
	s.SetClient(event.Client{Hello: helloName, ESMTP: true})
	fire(event.Event{Kind: event.EhloCommand, Argument: helloName})
	envelope := &mail.Envelope{ID: id + "-1", From: sender}
	s.Begin(envelope)
	fire(event.Event{Kind: event.MailCommand, From: sender})
	fire(event.Event{Kind: event.RcptCommand, Recipient: envelope.Add(mail.Recipient{Path: recipient, Original: recipient})})
	fire(event.Event{Kind: event.DataCommand})
	s.SetHeader(header.Clone())
	fire(event.Event{Kind: event.EndOfHeaders})
	s.EndTransaction()
	return err
}
