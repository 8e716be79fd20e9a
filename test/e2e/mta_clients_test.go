package e2e

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"example.org/relay/test/relaytest"
	"example.org/relay/test/smtptest"
)

// byPostfix starts one Postfix for all targets, which it tells apart by the sender. Its send
// waits for what the log says of the delivery.
func byPostfix(t *testing.T, targets []target) func(*testing.T, target, []byte) (string, bool) {
	t.Helper()
	var transports, logins, services []string
	for _, to := range targets {
		hop := "[" + to.host + "]:" + to.port
		transports = append(transports, to.from+"=out-"+to.name+":"+hop)
		service := "out-" + to.name + " unix - - n - - smtp" + map[string]string{
			"none":     " -o smtp_tls_security_level=none",
			"starttls": " -o smtp_tls_security_level=secure",
			"implicit": " -o smtp_tls_security_level=secure -o smtp_tls_wrappermode=yes",
		}[to.tls]
		if to.login != nil {
			logins = append(logins, "{"+to.from+" = "+to.login.user+":"+to.login.password+"}")
			service += " -o smtp_sasl_auth_enable=yes -o smtp_sasl_mechanism_filter=" + strings.ToLower(to.login.mechanism)
		}
		services = append(services, service)
	}
	p := startPostfix(t, `
mynetworks = 127.0.0.0/8
smtpd_relay_restrictions = permit_mynetworks, reject
header_checks = regexp:{{/^Received:/ IGNORE}}
# What comes back is not looked at.
default_transport = discard:
sender_dependent_default_transport_maps = inline:{`+strings.Join(transports, ", ")+`}
smtp_sasl_password_maps = inline:{`+strings.Join(append(logins, "none=none"), ", ")+`}
smtp_sasl_security_options = noanonymous
smtp_sender_dependent_authentication = yes
smtp_tls_secure_cert_match = mx.example.org
smtp_tls_CAfile = `+targets[0].authority+"\n", services...)
	return func(t *testing.T, to target, message []byte) (string, bool) {
		t.Helper()
		c, err := smtptest.Dial(p.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Quit()
		reply, err := c.Send(to.from, to.to, " BODY=8BITMIME", message)
		_, id, ok := strings.Cut(reply, " queued as ")
		if err != nil || !ok {
			t.Fatalf("Postfix answered %q, %v", reply, err)
		}
		over := regexp.MustCompile(`(?m)^.* ` + id + `: to=<.* status=(\w+) .*$`)
		var line []string
		relaytest.Eventually(t, "Postfix is done with "+id, func() bool {
			log, _ := os.ReadFile(filepath.Join(p.dir, "log", "mail.log"))
			line = over.FindStringSubmatch(string(log))
			return line != nil
		})
		return line[0], line[1] == "sent"
	}
}

// byExim hands the message to an Exim that delivers it to the target at once, in the
// foreground, and returns its log.
func byExim(t *testing.T, to target, message []byte) (string, bool) {
	t.Helper()
	transport := map[string]string{
		"none":     "hosts_avoid_tls = *",
		"starttls": "hosts_require_tls = *",
		"implicit": "hosts_require_tls = *\n  protocol = smtps",
	}[to.tls]
	authenticator := ""
	if to.login != nil {
		transport += "\n  hosts_require_auth = *"
		authenticator = "begin authenticators\nclient:\n  driver = plaintext\n  public_name = " + to.login.mechanism + "\n  client_send = " +
			map[string]string{"PLAIN": "^%[1]s^%[2]s", "LOGIN": ": %[1]s : %[2]s"}[to.login.mechanism] + "\n"
		authenticator = fmt.Sprintf(authenticator, to.login.user, to.login.password)
	}
	e := newExim(t, fmt.Sprintf(`received_header_text =
log_selector = +smtp_confirmation
begin routers
relay:
  driver = manualroute
  route_list = * %[1]s::%[2]s byname
  self = send
  transport = relay
begin transports
relay:
  driver = smtp
  allow_localhost
  hosts_try_dane =
  tls_verify_certificates = %[3]s
  tls_verify_hosts = *
  tls_verify_cert_hostnames =
  %[4]s
%[5]s`, to.host, to.port, to.authority, transport, authenticator))
	out, ok := feed(t, local(message), nil, e.program, "-C", e.config, "-oi", "-odf", "-f", to.from, to.to)
	log, _ := os.ReadFile(filepath.Join(e.dir, "log", "mainlog"))
	return out + string(log), ok && bytes.Contains(log, []byte(" => "+to.to+" "))
}
