package mail_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"example.org/relay/relay/mail"
)

func TestReceivedValue(t *testing.T) {
	full := mail.Received{
		Hello: "client.example.org", Client: netip.MustParseAddr("192.0.2.1"), By: "mx.example.org", Protocol: "ESMTPS",
		TLS: "TLS 1.3, TLS_AES_128_GCM_SHA256", ID: "abc-1", For: "user@example.org",
		At: time.Date(2026, 3, 1, 9, 8, 7, 0, time.FixedZone("", 3600)),
	}
	bare := mail.Received{
		Hello: "evil\r\nX: y", Client: netip.MustParseAddr("2001:db8::1%eth0"), By: "mx.example.org", Protocol: "SMTP", ID: "abc-2", At: full.At,
	}
	told := bare
	told.Hello, told.Host, told.Client = "[192.0.2.1]", "client.example.net", netip.MustParseAddr("192.0.2.1")
	lying := told
	lying.Hello, lying.Host = "[192.0.2.1] (", "x) ([198.51.100.1]"
	mapped := bare
	mapped.Hello, mapped.Client = strings.Repeat("x", 256), netip.MustParseAddr("::ffff:192.0.2.1")
	for _, c := range []struct {
		name string
		r    mail.Received
		want string
	}{
		{"full", full, " from client.example.org ([192.0.2.1])\r\n\t(TLS 1.3, TLS_AES_128_GCM_SHA256)\r\n" +
			"\tby mx.example.org with ESMTPS id abc-1\r\n\tfor <user@example.org>;\r\n\tSun, 01 Mar 2026 09:08:07 +0100"},
		{"a name that is none", bare, " from unknown ([IPv6:2001:db8::1])\r\n" +
			"\tby mx.example.org with SMTP id abc-2;\r\n\tSun, 01 Mar 2026 09:08:07 +0100"},
		{"a name that a hop has told", told, " from [192.0.2.1] (client.example.net [192.0.2.1])\r\n" +
			"\tby mx.example.org with SMTP id abc-2;\r\n\tSun, 01 Mar 2026 09:08:07 +0100"},
		{"names that would write on", lying, " from unknown ([192.0.2.1])\r\n" +
			"\tby mx.example.org with SMTP id abc-2;\r\n\tSun, 01 Mar 2026 09:08:07 +0100"},
		{"an IPv4 address in IPv6", mapped, " from unknown ([192.0.2.1])\r\n" +
			"\tby mx.example.org with SMTP id abc-2;\r\n\tSun, 01 Mar 2026 09:08:07 +0100"},
	} {
		got := c.r.Value()
		if string(got) != c.want {
			t.Errorf("%s:\n%q, want\n%q", c.name, got, c.want)
		}
		if err := mail.CheckField("Received", got); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}
