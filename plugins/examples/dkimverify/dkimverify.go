package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/emersion/go-msgauth/authres"
	"github.com/emersion/go-msgauth/dkim"

	"example.org/relay/plugins/agent"
)

// maxSignatures bounds the work that a message can ask for (RFC 6376 §8.4).
const maxSignatures = 10

// A resolver finds the keys. A *net.Resolver is one.
type resolver interface {
	LookupTXT(ctx context.Context, name string) ([]string, error)
}

func factory(r resolver) agent.Factory {
	return agent.Build("dkimverify", func(s agent.Setup) (*verifier, error) {
		return &verifier{resolver: r, name: s.Hostname}, s.Settings(&struct{}{})
	},
		agent.Describe("verifies DKIM signatures and adds Authentication-Results"),
		agent.Asks(agent.ReadBody, agent.ChangeHeaders, agent.UseNetwork))
}

type verifier struct {
	resolver resolver
	name     string // the authserv-id, RFC 8601 §2.5: the relay's own name
}

// OnEndOfData adds the results on top. Fields that came with the message and claim to be ours
// the relay has taken out before.
func (v *verifier) OnEndOfData(ctx context.Context, m *agent.Message) agent.Verdict {
	results, err := v.verify(ctx, m)
	if err != nil {
		return agent.Fail(fmt.Errorf("verify: %w", err))
	}
	m.Header().Add("Authentication-Results", strings.TrimSpace(authres.Format(v.name, results)))
	return agent.Continue()
}

// verify reads the body once, however many signatures there are, and not at all without one.
func (v *verifier) verify(ctx context.Context, m *agent.Message) ([]authres.Result, error) {
	signatures := signaturesOf(m.Header())
	if len(signatures) == 0 {
		return []authres.Result{&authres.GenericResult{Method: "dkim", Value: authres.ResultNone}}, nil
	}
	body := &patient{r: m.Body()}
	message := io.MultiReader(bytes.NewReader(m.Header().Bytes()), strings.NewReader("\r\n"), body)
	verified, err := dkim.VerifyWithOptions(message, &dkim.VerifyOptions{
		LookupTXT:        func(name string) ([]string, error) { return v.resolver.LookupTXT(ctx, name) },
		MaxVerifications: maxSignatures,
	})
	if err != nil && !errors.Is(err, dkim.ErrTooManySignatures) {
		return nil, err
	}
	if body.err != nil {
		return nil, body.err
	}
	var results []authres.Result
	for i, one := range verified {
		results = append(results, result(one, signatures[i]))
	}
	return results, nil
}

// patient ends where its reader fails, and keeps the error: the verifying library would leave
// goroutines behind.
type patient struct {
	r   io.Reader
	err error
}

func (p *patient) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	if err != nil && !errors.Is(err, io.EOF) {
		p.err, err = err, io.EOF
	}
	return n, err
}

// result is one signature's (RFC 8601 §2.7.1). What a stranger wrote gets in only where it
// can be nothing but what it claims to be.
func result(v *dkim.Verification, signature map[string]string) authres.Result {
	r := &authres.GenericResult{Method: "dkim", Value: authres.ResultPass, Params: map[string]string{}}
	switch {
	case v.Err == nil:
	case dkim.IsTempFail(v.Err):
		r.Value = authres.ResultTempError
	case dkim.IsPermFail(v.Err):
		r.Value = authres.ResultPermError
	default:
		r.Value = authres.ResultFail
	}
	if v.Err != nil {
		reason, _, _ := strings.Cut(strings.TrimPrefix(v.Err.Error(), "dkim: "), ": ") // behind it a stranger's words begin
		r.Params["reason"] = reason
	}
	for property, tag := range map[string]string{"header.d": "d", "header.s": "s", "header.a": "a", "header.b": "b"} {
		value := signature[tag]
		if tag == "b" {
			value = value[:min(len(value), 8)] // tells signatures of one domain apart, RFC 6008
		}
		if value != "" && strings.Trim(value, "-._+/=abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") == "" {
			r.Params[property] = value
		}
	}
	return r
}

// signaturesOf returns the tags of each signature, in the order of the fields.
func signaturesOf(h *agent.Header) []map[string]string {
	var all []map[string]string
	for _, f := range h.Fields() {
		if !strings.EqualFold(f.Name(), "DKIM-Signature") {
			continue
		}
		tags := make(map[string]string)
		for tag := range strings.SplitSeq(f.Raw(), ";") {
			name, value, _ := strings.Cut(tag, "=")
			tags[strings.TrimSpace(name)] = strings.Join(strings.Fields(value), "")
		}
		all = append(all, tags)
	}
	return all
}
