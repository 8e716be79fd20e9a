package agents

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/testing/protocmp"

	agentv1 "example.org/relay/proto/agent/v1"
	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
	"example.org/relay/relay/reply"
)

func TestEventsOnTheWire(t *testing.T) {
	alice := mail.Path{Local: "alice", Domain: "example.org"}
	for _, tt := range []struct {
		name string
		in   event.Event
		want *agentv1.Event
	}{
		{"MAIL", event.Event{Seq: 3, Kind: event.MailCommand, From: mail.Path{Local: "a b", Domain: "example.org"}, Params: mail.Params{{Keyword: "SIZE", Value: "10", HasValue: true}}},
			&agentv1.Event{Seq: 3, Type: agentv1.EventType_EVENT_TYPE_MAIL_COMMAND, Detail: &agentv1.Event_Mail{Mail: &agentv1.Mailbox{
				Address: `"a b"@example.org`, Params: []*agentv1.EsmtpParam{{Key: "SIZE", Value: "10"}}}}}},
		{"null sender", event.Event{Kind: event.MailCommand},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_MAIL_COMMAND, Detail: &agentv1.Event_Mail{Mail: &agentv1.Mailbox{}}}},
		{"RCPT", event.Event{Kind: event.RcptCommand, Recipient: mail.Recipient{ID: 2, Path: alice, Original: alice}},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Detail: &agentv1.Event_Rcpt{Rcpt: &agentv1.Mailbox{Address: "alice@example.org", Id: 2}}}},
		{"RCPT replaced", event.Event{Kind: event.RcptCommand, Recipient: mail.Recipient{ID: 2, Path: alice, Original: mail.Path{Local: "a_b", Domain: "example.org"}}},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND, Detail: &agentv1.Event_Rcpt{Rcpt: &agentv1.Mailbox{Address: "alice@example.org", Id: 2, Original: "a_b@example.org"}}}},
		{"EHLO", event.Event{Kind: event.EhloCommand, Argument: "client.example.org"},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_EHLO_COMMAND, Detail: &agentv1.Event_Command{Command: &agentv1.CommandDetail{Argument: "client.example.org"}}}},
		{"AUTH", event.Event{Seq: 4, Kind: event.AuthCommand, Auth: &event.Authentication{Mechanism: "PLAIN"}},
			&agentv1.Event{Seq: 4, Type: agentv1.EventType_EVENT_TYPE_AUTH_COMMAND, Detail: &agentv1.Event_Auth{Auth: &agentv1.AuthDetail{Mechanism: "PLAIN"}}}},
		{"end of authentication", event.Event{Kind: event.EndOfAuthentication, Auth: &event.Authentication{Mechanism: "LOGIN", User: "alice", Success: true}},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_END_OF_AUTHENTICATION, Detail: &agentv1.Event_Auth{Auth: &agentv1.AuthDetail{Mechanism: "LOGIN", User: "alice", Success: true}}}},
		{"disconnect", event.Event{Kind: event.Disconnect, Notify: true, Disconnect: event.DisconnectDrain},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_DISCONNECT, Notify: true, Detail: &agentv1.Event_Disconnect{Disconnect: &agentv1.DisconnectDetail{Reason: agentv1.SessionEnd_REASON_DRAIN}}}},
		{"reject", event.Event{Kind: event.Reject, Rejection: &event.Rejection{Reply: reply.New(550, reply.Enhanced{Subject: 1, Detail: 1}, "no"), Command: "RCPT TO:<x>", Recipient: "x", Cause: event.CauseAgent, Agent: "a", At: event.RcptCommand}},
			&agentv1.Event{Type: agentv1.EventType_EVENT_TYPE_REJECT, Detail: &agentv1.Event_Reject{Reject: &agentv1.RejectDetail{
				Reply: &agentv1.Reply{Code: 550, Enhanced: "5.1.1", Lines: []string{"no"}}, Command: "RCPT TO:<x>", Recipient: "x",
				Cause: agentv1.RejectDetail_CAUSE_AGENT, Agent: "a", At: agentv1.EventType_EVENT_TYPE_RCPT_COMMAND}}}},
		{"connect", event.Event{Seq: 1, Kind: event.Connect}, &agentv1.Event{Seq: 1, Type: agentv1.EventType_EVENT_TYPE_CONNECT}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			used := &slot{} // what it was used for before must not show
			used.fill(&event.Event{Seq: 9, Kind: event.RcptCommand, Notify: true, Recipient: mail.Recipient{ID: 9, Params: mail.Params{{Keyword: "X"}}, Original: alice}})
			if d := cmp.Diff(tt.want, used.fill(&tt.in), protocmp.Transform()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestHeaderBlock(t *testing.T) {
	h := mail.ParseHeader([]byte("A: 1\r\nSubject: x\r\n y\r\nodd\r\nB: 2\r\n"))
	block := &agentv1.HeaderBlock{Raw: []byte("old"), End: []uint32{3}, Id: []uint32{8}}
	fillHeaders(block, h, nil)
	if string(block.Raw) != "A: 1\r\nSubject: x\r\n y\r\nodd\r\nB: 2\r\n" || !cmp.Equal(block.End, []uint32{6, 22, 27, 33}) || len(block.Id) != 0 {
		t.Errorf("whole: %v", block)
	}
	if err := h.Remove(1); err != nil {
		t.Fatal(err)
	}
	fillHeaders(block, h, []string{"b", "subject"})
	if string(block.Raw) != "Subject: x\r\n y\r\nB: 2\r\n" || !cmp.Equal(block.End, []uint32{16, 22}) || !cmp.Equal(block.Id, []uint32{2, 4}) {
		t.Errorf("filtered: %v", block)
	}
}

func TestVerdicts(t *testing.T) {
	edit := func(op *agentv1.Edit) *agentv1.Verdict { return &agentv1.Verdict{Edits: []*agentv1.Edit{op}} }
	edited := func(e event.Edit) event.Verdict { return event.Verdict{Edits: []event.Edit{e}} }
	for _, tt := range []struct {
		name string
		in   *agentv1.Verdict
		want event.Verdict
		err  error
	}{
		{name: "empty continues", in: &agentv1.Verdict{}},
		{name: "reject", in: &agentv1.Verdict{Seq: 2, Action: agentv1.Action_ACTION_REJECT, Reply: &agentv1.Reply{Code: 550, Enhanced: "5.1.10", Lines: []string{"a", "b"}}, Reason: "x\r\ny"},
			want: event.Verdict{Seq: 2, Action: event.RejectIt, Reply: reply.Reply{Code: 550, Enhanced: reply.Enhanced{Subject: 1, Detail: 10}, Lines: []string{"a", "b"}}, Reason: "x  y"}},
		{name: "default enhanced code", in: &agentv1.Verdict{Action: agentv1.Action_ACTION_DISCONNECT, Reply: &agentv1.Reply{Code: 421}},
			want: event.Verdict{Action: event.Hangup, Reply: reply.Reply{Code: 421, Enhanced: reply.Enhanced{Subject: 7}}}},
		{name: "CR in a reply", in: &agentv1.Verdict{Reply: &agentv1.Reply{Code: 550, Lines: []string{"a\rb"}}}, err: event.ErrProtocol},
		{name: "class of the enhanced code", in: &agentv1.Verdict{Reply: &agentv1.Reply{Code: 450, Enhanced: "5.1.1"}}, err: event.ErrProtocol},
		{name: "bad enhanced code", in: &agentv1.Verdict{Reply: &agentv1.Reply{Code: 550, Enhanced: "5.01.1"}}, err: event.ErrProtocol},
		{name: "code", in: &agentv1.Verdict{Reply: &agentv1.Reply{Code: 1000}}, err: event.ErrProtocol},
		{name: "unknown action", in: &agentv1.Verdict{Action: 99}, err: event.ErrProtocol},
		{name: "too many edits", in: &agentv1.Verdict{Edits: make([]*agentv1.Edit, agentv1.MaxEdits+1)}, err: event.ErrProtocol},
		{name: "failure", in: &agentv1.Verdict{Failure: &agentv1.Failure{Detail: "x"}}, err: event.ErrFailed},
		{name: "add header at top", in: edit(&agentv1.Edit{Op: &agentv1.Edit_AddHeader{AddHeader: &agentv1.AddHeader{Name: "X", Value: []byte(" 1")}}}),
			want: edited(event.Edit{Op: event.AddHeader, Name: "X", Value: []byte(" 1")})},
		{name: "add header before", in: edit(&agentv1.Edit{Op: &agentv1.Edit_AddHeader{AddHeader: &agentv1.AddHeader{Name: "X", At: &agentv1.AddHeader_BeforeId{BeforeId: 3}}}}),
			want: edited(event.Edit{Op: event.AddHeader, Name: "X", Place: mail.Place{Before: 3}})},
		{name: "replace header", in: edit(&agentv1.Edit{Op: &agentv1.Edit_ReplaceHeader{ReplaceHeader: &agentv1.ReplaceHeader{Id: 4, Value: []byte(" v")}}}),
			want: edited(event.Edit{Op: event.ReplaceHeader, Field: 4, Value: []byte(" v")})},
		{name: "remove headers", in: edit(&agentv1.Edit{Op: &agentv1.Edit_RemoveHeader{RemoveHeader: &agentv1.RemoveHeader{Which: &agentv1.RemoveHeader_AllNamed{AllNamed: "X"}}}}),
			want: edited(event.Edit{Op: event.RemoveHeaders, Name: "X"})},
		{name: "replace recipient", in: edit(&agentv1.Edit{Op: &agentv1.Edit_ReplaceRecipient{ReplaceRecipient: &agentv1.ReplaceRecipient{RecipientId: 1, With: []*agentv1.Mailbox{{Address: "a@example.org"}, {Address: "b@example.org"}}}}}),
			want: edited(event.Edit{Op: event.ReplaceRecipient, Recipient: 1, Addresses: []string{"a@example.org", "b@example.org"}})},
		{name: "remove with DSN", in: edit(&agentv1.Edit{Op: &agentv1.Edit_RemoveRecipient{RemoveRecipient: &agentv1.RemoveRecipient{Dsn: true}}}),
			want: edited(event.Edit{Op: event.Unsupported, Detail: "remove_recipient with a DSN"})},
		{name: "body", in: edit(&agentv1.Edit{Op: &agentv1.Edit_ReplaceBody{ReplaceBody: &agentv1.ContentSource{}}}),
			want: edited(event.Edit{Op: event.Unsupported, Detail: "replace_body"})},
		{name: "parameters of the sender", in: edit(&agentv1.Edit{Op: &agentv1.Edit_SetMailParams{SetMailParams: &agentv1.SetParams{
			Params: []*agentv1.EsmtpParam{{Key: "RET", Value: "HDRS"}, {Key: "ENVID"}}}}}),
			want: edited(event.Edit{Op: event.SetMailParams, Params: []mail.Params{{{Keyword: "RET", Value: "HDRS", HasValue: true}, {Keyword: "ENVID"}}}})},
		{name: "parameters of a recipient", in: edit(&agentv1.Edit{Op: &agentv1.Edit_SetRcptParams{SetRcptParams: &agentv1.SetParams{
			RecipientId: 7, Params: []*agentv1.EsmtpParam{{Key: "NOTIFY", Value: "NEVER"}}}}}),
			want: edited(event.Edit{Op: event.SetRcptParams, Recipient: 7, Params: []mail.Params{{{Keyword: "NOTIFY", Value: "NEVER", HasValue: true}}}})},
		{name: "parameters beside one of two", in: edit(&agentv1.Edit{Op: &agentv1.Edit_ReplaceRecipient{ReplaceRecipient: &agentv1.ReplaceRecipient{
			RecipientId: 7, With: []*agentv1.Mailbox{{Address: "a@example.org"}, {Address: "b@example.org", Params: []*agentv1.EsmtpParam{{Key: "NOTIFY", Value: "NEVER"}}}}}}}),
			want: edited(event.Edit{Op: event.ReplaceRecipient, Recipient: 7, Addresses: []string{"a@example.org", "b@example.org"},
				Params: []mail.Params{nil, {{Keyword: "NOTIFY", Value: "NEVER", HasValue: true}}}})},
		{name: "unknown edit", in: edit(&agentv1.Edit{}), want: edited(event.Edit{Op: event.Unsupported, Detail: "an edit this relay does not know"})},
		{name: "property", in: edit(&agentv1.Edit{Op: &agentv1.Edit_SetProperty{SetProperty: &agentv1.SetProperty{Private: true, Property: &agentv1.Property{Scope: agentv1.Property_SCOPE_MESSAGE, Key: "k", Value: []byte("v")}}}}),
			want: edited(event.Edit{Op: event.SetProperty, Property: event.Property{Scope: event.ScopeMessage, Key: "k", Value: []byte("v"), Private: true}})},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := verdictOf(tt.in)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func FuzzVerdict(f *testing.F) {
	seed, err := proto.Marshal(&agentv1.Verdict{Seq: 1, Reply: &agentv1.Reply{Code: 550, Enhanced: "5.7.1", Lines: []string{"no"}}, Edits: []*agentv1.Edit{{}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(seed)
	f.Fuzz(func(t *testing.T, data []byte) {
		var w agentv1.Verdict
		if proto.Unmarshal(data, &w) != nil {
			return
		}
		if v, err := verdictOf(&w); err == nil && len(v.Edits) != len(w.Edits) {
			t.Errorf("%d edits of %d", len(v.Edits), len(w.Edits))
		}
	})
}

func TestFilterFromTheWire(t *testing.T) {
	yes, no := true, false
	for _, tt := range []struct {
		name string
		in   *agentv1.Filter
		want event.Filter
		bad  string
	}{
		{"none", nil, event.Filter{}, ""},
		{"all", &agentv1.Filter{
			Listeners: []string{":25"}, MaxSize: 7, Authenticated: &yes, RecipientDomains: []string{"example.org"},
			SenderDomains: []string{"*.example.net"}, Direction: agentv1.Filter_DIRECTION_INTERNAL,
		}, event.Filter{
			Listeners: []string{":25"}, MaxSize: 7, Login: event.LoggedIn, RecipientDomains: []string{"example.org"},
			SenderDomains: []string{"*.example.net"}, Direction: event.Internal,
		}, ""},
		{"strangers", &agentv1.Filter{Authenticated: &no, Direction: agentv1.Filter_DIRECTION_INBOUND},
			event.Filter{Login: event.Anonymous, Direction: event.Inbound}, ""},
		{"a direction of later", &agentv1.Filter{Direction: 9}, event.Filter{}, "direction"},
		{"no domain", &agentv1.Filter{RecipientDomains: []string{"a@b"}}, event.Filter{}, `"a@b"`},
	} {
		got, err := filterOf(tt.in)
		if tt.bad != "" {
			if err == nil || !strings.Contains(err.Error(), tt.bad) {
				t.Errorf("%s: %v, want an error about %s", tt.name, err, tt.bad)
			}
			continue
		}
		if err != nil || !got.Equal(tt.want) {
			t.Errorf("%s: %+v, %v, want %+v", tt.name, got, err, tt.want)
		}
	}
}

// What an agent is told of who the client is, by how the connection came.
func TestConnectionInfo(t *testing.T) {
	client, hop := netip.MustParseAddrPort("192.0.2.1:4711"), netip.MustParseAddrPort("198.51.100.7:25")
	for _, tt := range []struct {
		name            string
		conn            event.Connection
		proxy, external []byte
	}{
		{"by itself", event.Connection{Remote: client}, nil, client.Addr().AsSlice()},
		{"by a proxy", event.Connection{Remote: client, Proxy: hop.Addr(), RemoteHost: "client.example.net"}, hop.Addr().AsSlice(), client.Addr().AsSlice()},
		{"a proxy with nobody behind it", event.Connection{Remote: hop, Proxy: hop.Addr()}, hop.Addr().AsSlice(), nil},
		{"of networks.relay", event.Connection{Remote: client, Internal: true}, nil, nil},
	} {
		got := connectionInfo(&tt.conn)
		if !bytes.Equal(got.GetRemoteIp(), tt.conn.Remote.Addr().AsSlice()) || got.GetRemoteHost() != tt.conn.RemoteHost ||
			!bytes.Equal(got.GetProxyIp(), tt.proxy) || !bytes.Equal(got.GetLastExternalIp(), tt.external) {
			t.Errorf("%s: %v", tt.name, got)
		}
	}
}

func TestWhatTLSCameToOnTheWire(t *testing.T) {
	leaf := &x509.Certificate{Raw: []byte("leaf")}
	state := &tls.ConnectionState{
		Version: tls.VersionTLS12, CipherSuite: tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, ServerName: "mx.example.org",
		PeerCertificates: []*x509.Certificate{leaf, {Raw: []byte("issuer")}},
	}
	want := &agentv1.ClientState{
		TlsVersion: "TLS 1.2", TlsCipher: "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", TlsSni: "mx.example.org", TlsPeerCertificate: []byte("leaf"),
	}
	if d := cmp.Diff(want, clientState(&event.Client{TLS: state}), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	state.VerifiedChains, want.TlsPeerVerified = [][]*x509.Certificate{{leaf}}, true
	if d := cmp.Diff(want, clientState(&event.Client{TLS: state}), protocmp.Transform()); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff(&agentv1.ClientState{}, clientState(&event.Client{}), protocmp.Transform()); d != "" {
		t.Error(d)
	}
}
