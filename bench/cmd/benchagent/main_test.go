package main

import (
	"testing"

	"example.org/relay/plugins/agent"
)

func TestFactoriesAreServable(t *testing.T) {
	if err := agent.Check(factories...); err != nil {
		t.Error(err)
	}
}
