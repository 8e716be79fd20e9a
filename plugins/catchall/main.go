// Catchall delivers alias_tag@domain to alias@domain and marks the Subject with the tag.
// README.md is its manual.
package main

import "example.org/relay/plugins/agent"

func main() { agent.Serve(factory()) }
