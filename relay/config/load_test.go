package config_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"example.org/relay/relay/config"
	"example.org/relay/relay/event"
)

// small is the smallest file that says anything.
const small = `
[next_hop.mailserver]
addresses = ["127.0.0.1:1025"]
[frontend]
next_hop = "mailserver"
[[frontend.listener]]
address = "127.0.0.1:2525"
`

func TestEveryKeyIsRead(t *testing.T) {
	c, err := config.Parse("/etc/relay/config.toml", []byte(`
		hostname = "mx.example.org"
		state_dir = "/var/lib/relay"
		accepted_domain = [{ name = "example.org", recipients = "any" }, { name = "*.example.org" }]
		[next_hop.inside]
		addresses = ["192.0.2.1:25", "[2001:db8::1]:25", "mail.example.org:25"]
		weights = [3, 1, 0]
		protocol = "lmtp"
		tls = "verified"
		tls_name = "mail.example.net"
		forward_client = "xforward"
		connections = 7
		[next_hop."out side"]
		addresses = ["192.0.2.2:25"]
		[frontend]
		next_hop = "hub"
		recipient_check = "live"
		recipient_cache_ttl = "5m"
		recipient_cache_size = 9
		listener = [{ address = ":25", tls = "none", banner = "ESMTP ready" }]
		[hub]
		next_hop = "inside"
		retry_interval = "90s"
		expire_after = "24h"
		[[hub.listener]]
		address = "127.0.0.1:2526"
		[limits]
		message_size = "1 GB"
		recipients = 1
		header_size = "500B"
		header_fields = 2
		command_timeout = "1m"
		data_timeout = "2m30s"
		message_timeout = "0s"
		session_timeout = "3h"
		minimum_rate = "0B"
		connections = 50
		connections_per_address = 5
		connections_per_network = 6
		errors = 3
		unknown_commands = 4
		tarpit = "1s"
		greeting_delay = "2s"
		auth_failures = 8
		auth_failures_per_address = 0
		bare_line_ends = "repair"
		[networks]
		relay = ["192.0.2.0/24", "2001:db8::1"]
		proxy = ["198.51.100.7"]
		xclient = ["::/0"]
		[agents]
		timeout = "1s"
		on_failure = "continue"
	`))
	if err != nil {
		t.Fatal(err)
	}
	limits := config.Limits{
		MessageSize: 1e9, Recipients: 1, HeaderSize: 500, HeaderFields: 2, CommandTimeout: time.Minute, DataTimeout: 150 * time.Second,
		SessionTimeout: 3 * time.Hour, Connections: 50, ConnectionsPerAddress: 5, ConnectionsPerNetwork: 6, Errors: 3, UnknownCommands: 4,
		Tarpit: time.Second, GreetingDelay: 2 * time.Second, AuthFailures: 8, BareLineEnds: "repair",
	}
	networks := config.Networks{
		Relay:   []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("2001:db8::1/128")},
		Proxy:   []netip.Prefix{netip.MustParsePrefix("198.51.100.7/32")},
		XClient: []netip.Prefix{netip.MustParsePrefix("::/0")},
	}
	listener := func(address, banner string) []config.Listener {
		return []config.Listener{{
			Address: address, TLS: "none", Auth: "none", ClientCertificate: "none", Banner: banner, Networks: networks, Limits: limits,
		}}
	}
	want := &config.Config{
		File: "/etc/relay/config.toml", Hostname: "mx.example.org", StateDir: "/var/lib/relay",
		AcceptedDomains: []config.AcceptedDomain{{"example.org", "any"}, {"*.example.org", "verify"}},
		NextHops: map[string]config.NextHop{
			"inside": {
				Name: "inside", Addresses: []string{"192.0.2.1:25", "[2001:db8::1]:25", "mail.example.org:25"}, Weights: []int{3, 1, 0},
				Protocol: "lmtp", TLS: "verified", TLSName: "mail.example.net", ForwardClient: "xforward", Connections: 7,
			},
			"out side": {
				Name: "out side", Addresses: []string{"192.0.2.2:25"}, Protocol: "smtp", TLS: "opportunistic", ForwardClient: "none",
			},
		},
		FrontEnd: &config.FrontEnd{
			NextHop: "hub", RecipientCheck: "live", RecipientCacheTTL: 5 * time.Minute, RecipientCacheSize: 9,
			Listeners: listener(":25", "ESMTP ready"),
		},
		Hub: &config.Hub{
			NextHop: "inside", RetryInterval: 90 * time.Second, ExpireAfter: 24 * time.Hour, Listeners: listener("127.0.0.1:2526", ""),
		},
		Limits: limits, Networks: networks,
		Agents: config.Agents{Timeout: time.Second, OnFailure: "continue"},
	}
	if diff := cmp.Diff(want, c, cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if got := c.Services(); !slices.Equal(got, []event.Role{event.FrontEnd, event.Hub}) {
		t.Errorf("Services = %v", got)
	}
	if d := c.Domains(); !d.Contains("example.org") || !d.Contains("a.example.org") || d.Contains("example.net") {
		t.Errorf("Domains = %v", d.Names())
	}
	for _, key := range []string{
		"accepted_domain[0].recipients", "frontend.next_hop", "next_hop.inside.protocol", "hub:",
	} {
		if !slices.ContainsFunc(c.NotInForce(), func(s string) bool { return strings.HasPrefix(s, key) }) {
			t.Errorf("NotInForce = %q, without %s", c.NotInForce(), key)
		}
	}
}

// Of what a listener's own tables leave out, the general ones hold, wherever they stand in the file.
func TestListenerOverridesLimitsAndNetworks(t *testing.T) {
	c, err := config.Parse("config.toml", []byte(small+`
		[frontend.listener.limits]
		recipients = 5
		tarpit = "0s"
		[frontend.listener.networks]
		relay = []
		xclient = ["192.0.2.7"]
		[[frontend.listener]]
		address = "127.0.0.1:2526"
		[limits]
		recipients = 50
		errors = 7
		tarpit = "3s"
		[networks]
		relay = ["192.0.2.0/24"]
		proxy = ["198.51.100.7"]
	`))
	if err != nil {
		t.Fatal(err)
	}
	own, general := c.FrontEnd.Listeners[0], c.FrontEnd.Listeners[1]
	if own.Limits.Recipients != 5 || own.Limits.Tarpit != 0 || own.Limits.Errors != 7 {
		t.Errorf("limits of its own: %+v", own.Limits)
	}
	if len(own.Networks.Relay) != 0 || len(own.Networks.XClient) != 1 || len(own.Networks.Proxy) != 1 {
		t.Errorf("networks of its own: %+v", own.Networks)
	}
	if !reflect.DeepEqual(general.Limits, c.Limits) || !reflect.DeepEqual(general.Networks, c.Networks) {
		t.Errorf("general: %+v %+v", general.Limits, general.Networks)
	}
	if c.Limits.Recipients != 50 || len(c.Networks.Relay) != 1 || len(c.Networks.XClient) != 0 {
		t.Errorf("a listener has changed the general tables: %+v %+v", c.Limits, c.Networks)
	}
}

func TestPathsAreRelativeToTheFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(path, []byte("state_dir = \"state\"\n"+small), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	for _, name := range []string{path, "config.toml"} {
		c, err := config.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := filepath.Join(dir, "state"); c.StateDir != want || c.File != path {
			t.Errorf("Load(%s): StateDir = %s, File = %s, want %s", name, c.StateDir, c.File, want)
		}
	}
}

func TestHostnameIsTheMachines(t *testing.T) {
	name, err := os.Hostname()
	if err != nil {
		t.Skip(err)
	}
	c, err := config.Parse("config.toml", []byte(small))
	if err != nil || c.Hostname != name {
		t.Errorf("Hostname = %v, %v, want %s", c, err, name)
	}
}

func TestFileThatCannotBeReadIsNoProblemOfItsText(t *testing.T) {
	_, err := config.Load(filepath.Join(t.TempDir(), "none.toml"))
	var problems config.Problems
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &problems) {
		t.Errorf("Load = %v", err)
	}
}

// Each file of testdata/bad has a config.toml and what is wrong with it, a line for each.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal(err, len(files))
	}
	for _, name := range files {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			a, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var in, want string
			for _, f := range a.Files {
				switch f.Name {
				case "config.toml":
					in = string(f.Data)
				case "want":
					want = strings.TrimSpace(string(f.Data))
				}
			}
			_, err = config.Parse("config.toml", []byte(in))
			var problems config.Problems
			if !errors.As(err, &problems) {
				t.Fatalf("Parse = %v, want problems", err)
			}
			if got := problems.Error(); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

func TestTooLargeAndTooDeepFilesAreRefused(t *testing.T) {
	deep := strings.Repeat("[", 100)
	for name, text := range map[string]string{
		"larger than 1 MiB":  strings.Repeat("#\n", 1<<20),
		"a million brackets": "a = " + strings.Repeat("[", 1<<20-4),
		"a million braces":   "a = " + strings.Repeat("{a=", 1<<18),
		"a dotted key":       strings.Repeat("a.", 1<<18) + "a = 1",
		"a dotted header":    "[" + strings.Repeat("a.", 1<<18) + "a]",
		"hidden by a string": "a = \"]]]]\\\"\" # \"\nb = ['''\n''', \"\"\"\\\"\"\"\"\", " + deep,
		"in an inline table": "a = {" + strings.Repeat("a.", 1<<18) + "a = 1}",
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := config.Parse("config.toml", []byte(text)); err == nil {
				t.Error("accepted")
			}
			if _, err := config.SettingsJSON([]byte(text)); err == nil {
				t.Error("accepted as settings")
			}
		})
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(small))
	f.Add([]byte("a.\"b c\".d = [[1, {x = 2}], '''\n''']\r\n[[q]]\n[q.r]\n[[q]] # x\ns = \"\"\"\\\"\"\"\"\"\n"))
	f.Add([]byte("\xef\xbb\xbfhostname = 1\nHOSTNAME = 2\n[limits]\nrecipients = -1e3\nmessage_size = 1979-05-27\n"))
	if manual, err := os.ReadFile("../../config.toml"); err == nil {
		f.Add(manual)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if c, err := config.Parse("config.toml", data); err == nil {
			_ = c.NotInForce()
		}
		_, _ = config.SettingsJSON(data)
	})
}

func TestPairsAreRead(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir)
	file := small + "[[tls.pair]]\ncertificate = \"cert.pem\"\nkey = \"key.pem\"\n"
	path := filepath.Join(dir, "config.toml")
	c, err := config.Parse(path, []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	want := config.TLSPair{Certificate: filepath.Join(dir, "cert.pem"), Key: filepath.Join(dir, "key.pem")}
	if len(c.TLSPairs) != 1 || c.TLSPairs[0] != want {
		t.Errorf("TLSPairs = %v, want %v", c.TLSPairs, want)
	}
	if got := c.FrontEnd.Listeners[0].TLS; got != "starttls" {
		t.Errorf("a listener with a pair at hand has tls = %q", got)
	}
	_, err = config.Parse(path, []byte(strings.Replace(file, "key.pem", "other.pem", 1)))
	if err == nil || !strings.Contains(err.Error(), "config.toml:8: tls.pair[0]: open ") {
		t.Errorf("a pair without its key: %v", err)
	}
}

// writePair writes a certificate and its key into dir.
func writePair(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"mx.example.org"}}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: cert}, "key.pem": {Type: "PRIVATE KEY", Bytes: der},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// What the sending side would refuse at each login, check-config refuses before.
func TestPasswordFileThatIsNoneIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct{ content, problem string }{
		"good":     {"secret\r\nmore\n", ""},
		"empty":    {"\n", "is empty"},
		"nul":      {"sec\x00ret\n", "is not text"},
		"not utf8": {"sec\xffret\n", "is not text"},
		"large":    {"secret\n" + strings.Repeat("x", 64<<10), "is larger than 65536 octets"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.WriteFile(filepath.Join(dir, "password"), []byte(tt.content), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := config.Parse(filepath.Join(dir, "config.toml"), []byte(small+`
				[next_hop.other]
				addresses = ["127.0.0.1:1026"]
				tls = "required"
				[next_hop.other.auth]
				username = "relay"
				password_file = "password"
			`))
			if tt.problem == "" && err != nil || tt.problem != "" && (err == nil || !strings.Contains(err.Error(), tt.problem)) {
				t.Errorf("Parse = %v, want %q", err, tt.problem)
			}
		})
	}
}
