// Access allows and denies by client, HELO name, sender and recipient. README.md is its manual.
package main

import "example.org/relay/plugins/agent"

func main() { agent.Serve(factory()) }
