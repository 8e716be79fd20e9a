package relay_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "example.org/relay/"

// rooms are the packages from the top down: each may import only those below it, and of
// those only the ones it is not kept from.
var rooms = []string{
	"cmd/relay",
	"relay",
	"relay/sink",
	"relay/config",
	"relay/control",
	"relay/certificate",
	"relay/smtpserver",
	"relay/frontend",
	"relay/nexthop",
	"relay/auth",
	"relay/pipeline",
	"relay/agents",
	"relay/agents/confine",
	"relay/event",
	"relay/mail",
	"relay/reply",
	"proto/agent/v1",
	"proto/control/v1",
	"plugins/agent/processors",
}

// kept are imports that go down and are wrong all the same.
var kept = []struct{ from, to, why string }{
	{"relay/pipeline", "relay/agents", "package relay wires them: what agents answer must not hang on how they are reached"},
	{"relay/frontend", "relay/nexthop", "the Hub is a next hop too: frontend declares what it needs"},
	{"relay/smtpserver", "relay/frontend", "the Hub stands behind the same server: smtpserver declares Transaction"},
	{"relay/smtpserver", "relay/agents", "the server knows agents through the pipeline only"},
	{"relay/smtpserver", "relay/nexthop", "the server knows nothing of next hops"},
	{"relay/frontend", "relay/agents", "the FrontEnd knows agents through the pipeline only"},
	{"relay/smtpserver", "relay/auth", "users are known elsewhere too: smtpserver declares Authenticator"},
	{"relay/smtpserver", "relay/certificate", "the server asks for a tls.Config and does not mind where it comes from"},
	{"relay/sink", "relay/config", "a sink needs no configuration"},
}

// pure are the packages without input or output.
var pure = []string{"relay/event", "relay/mail", "relay/reply"}

func TestImportsGoDown(t *testing.T) {
	for pkg, imports := range packages(t) {
		at := slices.Index(rooms, pkg)
		for _, to := range imports {
			if strings.HasPrefix(pkg, "plugins/") {
				if !strings.HasPrefix(to, "plugins/") && to != "proto/agent/v1" {
					t.Errorf("%s imports %s: an agent's author must not compile the host", pkg, to)
				}
				continue
			}
			if at < 0 {
				continue // test tools and generators
			}
			down := slices.Index(rooms, to)
			if down < 0 {
				t.Errorf("%s imports %s, which is no room", pkg, to)
			} else if down <= at {
				t.Errorf("%s imports %s: imports go down only", pkg, to)
			}
			for _, k := range kept {
				if k.from == pkg && k.to == to {
					t.Errorf("%s imports %s: %s", pkg, to, k.why)
				}
			}
		}
	}
}

func TestEveryPackageOfTheRelayIsARoom(t *testing.T) {
	for pkg := range packages(t) {
		if (pkg == "relay" || strings.HasPrefix(pkg, "relay/")) && !strings.Contains(pkg, "/internal/") && !slices.Contains(rooms, pkg) {
			t.Errorf("%s has no place in the order of rooms", pkg)
		}
	}
}

func TestPureRoomsDoNothing(t *testing.T) {
	all := packages(t)
	for _, pkg := range pure {
		for _, to := range all[pkg] {
			if !slices.Contains(pure, to) {
				t.Errorf("%s imports %s, which is not pure", pkg, to)
			}
		}
	}
}

// packages maps each package of the module to those of the module that it imports, tests
// not counted.
func packages(t *testing.T) map[string][]string {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...")
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	all := map[string][]string{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		var ours []string
		for _, i := range p.Imports {
			if to, ok := strings.CutPrefix(i, module); ok {
				ours = append(ours, to)
			}
		}
		all[strings.TrimPrefix(p.ImportPath, module)] = ours
	}
}
