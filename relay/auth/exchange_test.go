package auth

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// step is a response and what comes of it.
type step struct {
	response  string // "-": none
	challenge string
	done      bool
	err       error
}

func walk(t *testing.T, e Exchange, steps []step) {
	t.Helper()
	for _, s := range steps {
		response := []byte(s.response)
		if s.response == "-" {
			response = nil
		}
		challenge, done, err := e.Next(context.Background(), response)
		if string(challenge) != s.challenge || done != s.done || !errors.Is(err, s.err) {
			t.Fatalf("%q: %q, %v, %v, want %q, %v, %v", s.response, challenge, done, err, s.challenge, s.done, s.err)
		}
	}
}

func TestPlain(t *testing.T) {
	u := parse(t, twoBoth)
	for name, tt := range map[string]struct {
		steps []step
		user  string
	}{
		"initial":         {[]step{{"\x00Alice\x00secret", "", true, nil}}, "alice"},
		"asked":           {[]step{{"-", "", false, nil}, {"\x00alice\x00secret", "", true, nil}}, "alice"},
		"own identity":    {[]step{{"ALICE\x00alice\x00secret", "", true, nil}}, "alice"},
		"somebody else's": {[]step{{"carol\x00alice\x00secret", "", false, ErrCredentials}}, "alice"},
		"nobody's":        {[]step{{"nobody\x00alice\x00secret", "", false, ErrCredentials}}, "alice"},
		"wrong":           {[]step{{"\x00alice\x00Secret", "", false, ErrCredentials}}, "alice"},
		"unknown":         {[]step{{"\x00bob\x00secret", "", false, ErrCredentials}}, "bob"},
		"no password":     {[]step{{"\x00alice\x00", "", false, ErrMalformed}}, ""},
		"no name":         {[]step{{"\x00\x00secret", "", false, ErrMalformed}}, ""},
		"one NUL":         {[]step{{"alice\x00secret", "", false, ErrMalformed}}, ""},
		"three NULs":      {[]step{{"\x00alice\x00sec\x00ret", "", false, ErrMalformed}}, ""},
		"empty":           {[]step{{"", "", false, ErrMalformed}}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			e := NewPlain(u, netip.Addr{})
			walk(t, e, tt.steps)
			if e.User() != tt.user {
				t.Errorf("user %q, want %q", e.User(), tt.user)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	u := parse(t, twoBoth)
	for name, steps := range map[string][]step{
		"asked":       {{"-", "Username:", false, nil}, {"alice", "Password:", false, nil}, {"secret", "", true, nil}},
		"initial":     {{"Alice", "Password:", false, nil}, {"secret", "", true, nil}},
		"wrong":       {{"alice", "Password:", false, nil}, {"Secret", "", false, ErrCredentials}},
		"unknown":     {{"bob", "Password:", false, nil}, {"secret", "", false, ErrCredentials}},
		"no name":     {{"-", "Username:", false, nil}, {"", "", false, ErrMalformed}},
		"no password": {{"alice", "Password:", false, nil}, {"", "", false, ErrMalformed}},
		"NUL":         {{"ali\x00ce", "", false, ErrMalformed}},
	} {
		t.Run(name, func(t *testing.T) { walk(t, NewLogin(u, netip.Addr{}), steps) })
	}
}

// second asks for a code after the password.
type second struct{ client netip.Addr }

func (s *second) Verify(_ context.Context, a Attempt) (string, *Challenge, error) {
	if s.client = a.Client; a.Password != "secret" {
		return "", nil, ErrCredentials
	}
	return "", &Challenge{"Code:", func(_ context.Context, code string) (string, *Challenge, error) {
		if code != "123456" {
			return "", nil, ErrCredentials
		}
		return a.User, nil, nil
	}}, nil
}

func TestSecondFactor(t *testing.T) {
	client := netip.MustParseAddr("192.0.2.1")
	s := &second{}
	walk(t, NewLogin(s, client), []step{{"alice", "Password:", false, nil}, {"secret", "Code:", false, nil}, {"123456", "", true, nil}})
	walk(t, NewLogin(s, client), []step{{"alice", "Password:", false, nil}, {"secret", "Code:", false, nil}, {"1", "", false, ErrCredentials}})
	walk(t, NewPlain(s, client), []step{{"\x00alice\x00secret", "", false, ErrCredentials}}) // it has no room for the code
	if s.client != client {
		t.Errorf("asked for %v", s.client)
	}
}

// RFC 7677 §3.
func TestScramVector(t *testing.T) {
	u := parse(t, "user "+pencil)
	fixed := func() string { return "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0" }
	const (
		first  = "n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
		nonce  = "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
		server = nonce + ",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
		proof  = "c=biws," + nonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
		final  = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
	)
	if !cheapScramOf(t, pencil).matches("pencil") {
		t.Error("the key is not that of its password")
	}
	e := newScram(u, fixed)
	walk(t, e, []step{{"-", "", false, nil}, {first, server, false, nil}, {proof, final, false, nil}, {"", "", true, nil}})
	if e.User() != "user" {
		t.Errorf("user %q", e.User())
	}
	for name, steps := range map[string][]step{
		"proof":             {{first, server, false, nil}, {strings.Replace(proof, "p=d", "p=e", 1), "", false, ErrCredentials}},
		"nonce":             {{first, server, false, nil}, {strings.Replace(proof, "r=r", "r=s", 1), "", false, ErrCredentials}},
		"early end":         {{first, server, false, nil}, {"", "", false, ErrCredentials}},
		"more at the end":   {{first, server, false, nil}, {proof, final, false, nil}, {"x", "", false, ErrMalformed}},
		"channel binding":   {{strings.Replace(first, "n,,", "p=tls-exporter,,", 1), "", false, ErrMalformed}},
		"binding data":      {{first, server, false, nil}, {strings.Replace(proof, "c=biws", "c=eSws", 1), "", false, ErrCredentials}},
		"extension":         {{strings.Replace(first, "n,,", "n,,m=x,", 1), "", false, ErrMalformed}},
		"somebody else":     {{strings.Replace(first, "n,,", "n,a=admin,", 1), server, false, nil}, {proof, "", false, ErrCredentials}},
		"no name":           {{"n,,n=,r=x", "", false, ErrMalformed}},
		"garbage":           {{"garbage", "", false, ErrMalformed}},
		"nothing":           {{"", "", false, ErrMalformed}},
		"after an error":    {{"garbage", "", false, ErrMalformed}, {first, "", false, ErrMalformed}},
		"after the refusal": {{first, server, false, nil}, {"x", "", false, ErrCredentials}, {proof, "", false, ErrMalformed}},
	} {
		t.Run(name, func(t *testing.T) { walk(t, newScram(u, fixed), steps) })
	}
}

func cheapScramOf(t *testing.T, s string) *scramKey {
	k, err := parseScramKey(s)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// An independent client logs in, with names and passwords that SASLprep changes.
func TestScramClients(t *testing.T) {
	u := parse(t, "alice@example.org "+cheapScram("p\u00e4ss word").String()+"\na,b=c "+pencil)
	for _, tt := range []struct {
		user, password, as string
		want               bool
	}{
		{"alice@example.org", "pa\u0308ss\u00a0word", "", true},
		{"Alice@example.org", "p\u00e4ss word", "alice@example.org", true},
		{"a,b=c", "pencil", "", true},
		{"a,b=c", "pencil", "alice@example.org", false},
		{"a,b=c", "Pencil", "", false},
		{"nobody", "pencil", "", false},
	} {
		client, err := scram.SHA256.NewClient(tt.user, tt.password, tt.as)
		if err != nil {
			t.Fatal(err)
		}
		c, e := client.NewConversation(), NewScram(u)
		challenge, done := "", false
		for !done && err == nil {
			var response string
			if response, err = c.Step(challenge); err != nil {
				break
			}
			var b []byte
			b, done, err = e.Next(context.Background(), []byte(response))
			challenge = string(b)
		}
		if (err == nil && done && c.Valid()) != tt.want || !tt.want && !errors.Is(err, ErrCredentials) {
			t.Errorf("%q: %v, valid %v", tt.user, err, c.Valid())
		}
	}
}

func TestMechanisms(t *testing.T) {
	for text, want := range map[string]string{
		twoBoth:                   "SCRAM-SHA-256 PLAIN LOGIN",
		"carol " + pencil:         "SCRAM-SHA-256 PLAIN LOGIN",
		twoBoth + "dave " + cheap: "PLAIN LOGIN",
	} {
		if got := strings.Join(parse(t, text).Mechanisms(), " "); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

func FuzzExchange(f *testing.F) {
	for _, s := range []string{"\x00alice\x00secret", "alice", "n,,n=user,r=x", "n,a=b,n=user,r=x", "c=biws,r=x,p=eA==", ""} {
		f.Add(uint8(0), []byte(s), []byte("secret"), []byte(""))
		f.Add(uint8(2), []byte(s), []byte(s), []byte(s))
	}
	u, err := Parse([]byte(twoBoth), secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, mechanism uint8, a, b, c []byte) {
		var e Exchange
		switch mechanism % 3 {
		case 0:
			e = NewPlain(u, netip.Addr{})
		case 1:
			e = NewLogin(u, netip.Addr{})
		default:
			e = NewScram(u)
		}
		for _, response := range [][]byte{a, b, c} {
			challenge, done, err := e.Next(context.Background(), response)
			if err != nil && (done || challenge != nil || !errors.Is(err, ErrCredentials) && !errors.Is(err, ErrMalformed)) {
				t.Errorf("%q, %v, %v", challenge, done, err)
			}
			if done {
				if _, known := u.find(e.User()); !known {
					t.Errorf("%q has logged in", e.User())
				}
			}
			if done || err != nil {
				return
			}
		}
	})
}
