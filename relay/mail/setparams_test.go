package mail_test

import (
	"strings"
	"testing"

	"example.org/relay/relay/mail"
)

func TestSetParams(t *testing.T) {
	for _, tt := range []struct {
		name     string
		set      func(p, set mail.Params, utf8 bool) (mail.Params, error)
		old, new string
		utf8     bool
		want     string
		problem  string
	}{
		{"return and id", mail.SetMailParams, "SIZE=1 RET=FULL", "ret=HDRS ENVID=a+2Bb", false, " SIZE=1 RET=HDRS ENVID=a+2Bb", ""},
		{"taken out", mail.SetMailParams, "RET=FULL ENVID=x AUTH=<>", "RET ENVID", false, " AUTH=<>", ""},
		{"not there", mail.SetMailParams, "SIZE=1", "ENVID", false, " SIZE=1", ""},
		{"auth", mail.SetMailParams, "", "AUTH=alice@example.org", false, " AUTH=alice@example.org", ""},
		{"size", mail.SetMailParams, "SIZE=1", "SIZE=2", false, "", "SIZE of MAIL says what the message is, and cannot be set; RET, ENVID, AUTH can"},
		{"no TLS after all", mail.SetMailParams, "REQUIRETLS", "REQUIRETLS", false, "", "REQUIRETLS"},
		{"body", mail.SetMailParams, "BODY=8BITMIME", "BODY", false, "", "BODY"},
		{"of another command", mail.SetMailParams, "", "NOTIFY=NEVER", false, "", `"NOTIFY" of MAIL: only RET`},
		{"unknown", mail.SetRcptParams, "", "X-FOO=1", false, "", `"X-FOO"`},
		{"bad value", mail.SetMailParams, "", "RET=SOME", false, "", "RET must be FULL or HDRS"},
		{"bad xtext", mail.SetMailParams, "", "ENVID=a+0Db", false, "", "xtext"},
		{"notify", mail.SetRcptParams, "ORCPT=rfc822;a@b.example", "NOTIFY=SUCCESS,DELAY", false, " ORCPT=rfc822;a@b.example NOTIFY=SUCCESS,DELAY", ""},
		{"notify of all at once", mail.SetRcptParams, "", "NOTIFY=NEVER,DELAY", false, "", "NOTIFY must be"},
		{"long", mail.SetRcptParams, "", "NOTIFY=" + strings.Repeat("DELAY,", 100) + "DELAY", false, "", "at most 500"},
		{"original recipient", mail.SetRcptParams, "ORCPT=rfc822;a@b.example", "ORCPT=rfc822;c@d.example", false, " ORCPT=rfc822;c@d.example", ""},
		{"beyond ASCII", mail.SetRcptParams, "", "ORCPT=utf-8;ä@b.example", false, "", "not ASCII"},
		{"beyond ASCII where the message may", mail.SetRcptParams, "", "ORCPT=utf-8;ä@b.example", true, " ORCPT=utf-8;ä@b.example", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			old, set := params(t, tt.old), params(t, tt.new)
			got, err := tt.set(old, set, tt.utf8)
			if tt.problem != "" {
				if err == nil || !strings.Contains(err.Error(), tt.problem) {
					t.Fatalf("error %v, want one with %q", err, tt.problem)
				}
				return
			}
			if err != nil || got.String() != tt.want {
				t.Errorf("%q, %v, want %q", got, err, tt.want)
			}
			if before := params(t, tt.old).String(); old.String() != before {
				t.Errorf("the old ones are now %q", old)
			}
		})
	}
}

func params(t *testing.T, s string) mail.Params {
	t.Helper()
	p, err := mail.ParseParams(s)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// A value that an agent made must not bring commands or parameters of its own.
func FuzzSetParams(f *testing.F) {
	for _, s := range []string{"HDRS", "a+2Bb", "<>", "SUCCESS,FAILURE", "rfc822;a@b", "x\r\nRSET", "a b", "a=b", "+0A"} {
		f.Add("ENVID", s)
		f.Add("notify", s)
	}
	f.Fuzz(func(t *testing.T, keyword, value string) {
		for _, set := range []func(p, set mail.Params, utf8 bool) (mail.Params, error){mail.SetMailParams, mail.SetRcptParams} {
			p, err := set(nil, mail.Params{{Keyword: keyword, Value: value}}, true)
			if err != nil || len(p) == 0 {
				continue
			}
			again, err := mail.ParseParams(p.String())
			if err != nil || len(again) != 1 || again[0] != p[0] {
				t.Errorf("%q is read as %v, %v", p.String(), again, err)
			}
		}
	})
}
