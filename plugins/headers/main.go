// Headers adds, removes, renames and sets header fields by rules. README.md is its manual.
package main

import "example.org/relay/plugins/agent"

func main() { agent.Serve(factory()) }
