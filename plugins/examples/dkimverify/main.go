// Dkimverify verifies the DKIM signatures of mail that comes in and says what came of it in
// an Authentication-Results field.
package main

import (
	"net"

	"example.org/relay/plugins/agent"
)

func main() { agent.Serve(factory(net.DefaultResolver)) }
