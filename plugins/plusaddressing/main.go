// Plusaddressing delivers alice+tag@domain to alice@domain. README.md is its manual.
package main

import "example.org/relay/plugins/agent"

func main() { agent.Serve(factory()) }
