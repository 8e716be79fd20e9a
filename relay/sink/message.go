package sink

import (
	"bytes"
	"crypto/tls"
	"time"

	"example.org/relay/relay/event"
	"example.org/relay/relay/mail"
)

// Message is one message that arrived, without its content. Its JSON form is what --dir
// keeps beside the content.
type Message struct {
	Seq        int       `json:"seq"` // from 1, as they arrived
	At         time.Time `json:"at"`
	Client     string    `json:"client"` // address:port
	Hello      string    `json:"helo"`
	ESMTP      bool      `json:"esmtp"`
	TLS        string    `json:"tls,omitempty"` // "TLS 1.3, TLS_AES_128_GCM_SHA256"
	From       Address   `json:"from"`
	Recipients []Address `json:"recipients"`
	Size       int64     `json:"size"`             // octets of the content
	SHA256     string    `json:"sha256,omitempty"` // of the content; only where it is kept
	File       string    `json:"file,omitempty"`   // name of the .eml file; only where it is kept
	Subject    string    `json:"subject,omitempty"`
	Reply      string    `json:"reply"` // what the client was told
}

// Address is a reverse-path or forward-path with its parameters.
type Address struct {
	Address string            `json:"address"` // without "<" and ">"; empty: the null reverse-path
	Params  map[string]string `json:"params,omitempty"`
	path    mail.Path
	params  mail.Params
}

func newAddress(p mail.Path, params mail.Params) Address {
	a := Address{Address: p.String(), path: p, params: append(mail.Params(nil), params...)}
	if len(params) > 0 {
		a.Params = make(map[string]string, len(params))
		for _, p := range params {
			a.Params[p.Keyword] = p.Value
		}
	}
	return a
}

// wire is the address with its parameters as in the command.
func (a Address) wire() string { return a.path.Wire() + a.params.String() }

// about fills in what is known of the client.
func (m *Message) about(s *event.State) {
	m.Hello, m.ESMTP = s.Client.Hello, s.Client.ESMTP
	if s.Connection != nil {
		m.Client = s.Connection.Remote.String()
	}
	if t := s.Client.TLS; t != nil {
		m.TLS = tls.VersionName(t.Version) + ", " + tls.CipherSuiteName(t.CipherSuite)
	}
}

// subject is the Subject as it stands in the header, unfolded; "" without one.
func subject(h *mail.Header) string {
	f, ok := h.First("Subject")
	if !ok {
		return ""
	}
	v := bytes.ReplaceAll(bytes.ReplaceAll(f.Value(), []byte("\r"), nil), []byte("\n"), nil)
	return string(bytes.TrimSpace(v))
}
