// Package e2e sends mail through a whole relay: real sockets, agents in processes of their
// own, real clients and servers where a test names them.
package e2e

import (
	"testing"

	"example.org/relay/test/relaytest"
)

func TestMain(m *testing.M) { relaytest.Main(m) }
