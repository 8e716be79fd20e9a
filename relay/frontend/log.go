package frontend

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"time"

	"example.org/relay/relay/mail"
	"example.org/relay/relay/pipeline"
	"example.org/relay/relay/reply"
)

// outcome is how a transaction ended, for the log. Zero: it came to no content.
type outcome struct {
	result string // relayed, refused or discarded
	told   reply.Reply
	err    error
	octets int64 // of the content
	// repaired counts the line ends in it that the relay has made CRLF.
	repaired int64
	took     time.Duration
}

// discarded is the result of a message that agents wanted dropped.
const discarded = "discarded"

// logMessage writes the one line of a message: who, to whom, what the agents did, what the
// client was told and by whom. What came to nothing before the content, by RSET or the end of
// the session, is told at level debug only.
func (s *Session) logMessage() {
	o := &s.tx.outcome
	level := slog.LevelInfo
	var alert *Alert
	switch {
	case o.result == "":
		o.result, o.took, level = "reset", time.Since(s.tx.begun), slog.LevelDebug
	case errors.As(o.err, &alert):
		level = slog.LevelError
	}
	entries := s.agents.TakeEntries()
	if level == slog.LevelInfo && slices.ContainsFunc(entries, func(e pipeline.Entry) bool { return e.Err != nil }) {
		level = slog.LevelWarn // an agent failed, and its policy answered for it
	}
	if !s.f.log.Enabled(context.Background(), level) {
		return
	}
	tx := &s.tx
	attrs := make([]slog.Attr, 0, 16)
	attrs = append(attrs,
		slog.String("result", o.result),
		slog.String("id", tx.env.ID),
		slog.String("session", s.agents.State.SessionID),
		slog.String("client", s.agents.State.Connection.Remote.Addr().String()),
		slog.String("from", "<"+tx.env.From.String()+">"),
		slog.Any("to", recipients(tx.env)),
		slog.Int64("size", o.octets),
	)
	if o.repaired > 0 {
		attrs = append(attrs, slog.Int64("repaired_line_ends", o.repaired))
	}
	if user := s.agents.State.Client.User; user != "" {
		attrs = append(attrs, slog.String("user", user))
	}
	if o.told.Code != 0 {
		attrs = append(attrs, slog.String("reply", o.told.String()))
	}
	if tx.remote != "" {
		attrs = append(attrs, slog.String("next_hop", tx.remote))
	}
	for _, e := range entries {
		attrs = append(attrs, slog.String("agent."+e.Agent, describe(e)))
	}
	var e *reply.Error
	if errors.As(o.err, &e) {
		if e.Agent != "" {
			attrs = append(attrs, slog.String("by", "agent "+e.Agent))
		} else if e.NextHop != "" {
			attrs = append(attrs, slog.String("by", "next hop"))
		}
		if e.Err != nil {
			attrs = append(attrs, slog.String("cause", e.Err.Error()))
		}
	} else if o.err != nil {
		attrs = append(attrs, slog.String("cause", o.err.Error()))
	}
	attrs = append(attrs, slog.Int64("ms", o.took.Milliseconds()))
	s.f.log.LogAttrs(context.Background(), level, "message", attrs...)
}

// alert logs a next hop's refusal of this relay, met at a RCPT, as that of a message is.
func (s *Session) alert(err error) {
	var alert *Alert
	if errors.As(err, &alert) {
		s.f.log.Error("next hop refuses this relay", "id", s.tx.env.ID, "session", s.agents.State.SessionID,
			"next_hop", s.tx.remote, "reply", alert.Reply.String())
	}
}

// recipients are the final ones, each with the address that the client gave where it is
// another.
func recipients(env *mail.Envelope) []string {
	all := make([]string, len(env.Recipients))
	for i, r := range env.Recipients {
		all[i] = "<" + r.Path.String() + ">"
		switch {
		case r.Original.IsNull():
			all[i] += " added"
		case !r.Path.Equal(r.Original):
			all[i] += " for <" + r.Original.String() + ">"
		}
	}
	return all
}

// describe is an agent's entry in words: "OnEndOfHeaders continue: replace-header Subject".
func describe(e pipeline.Entry) string {
	s := e.At.String() + " " + e.Action.String()
	if len(e.Edits) > 0 {
		s += ": " + strings.Join(e.Edits, ", ")
	}
	if e.Reason != "" {
		s += " (" + e.Reason + ")"
	}
	if e.Err != nil {
		s += ", failed: " + e.Err.Error()
	}
	return s
}
