#!/usr/bin/env bash
# What must hold beside the tests: formatting, vet, staticcheck, import directions,
# generated files up to date.
set -euo pipefail
cd "$(dirname "$0")/.."
GO=${GO:-go}
failed=0
say() { echo "check: $*"; }

unformatted=$(git ls-files '*.go' ':!*.pb.go' | xargs gofmt -s -l)
if [ -n "$unformatted" ]; then
  say "not formatted, run 'make fmt': $unformatted"
  failed=1
fi
$GO vet ./... || failed=1
$GO tool staticcheck ./... || failed=1
(cd bench && $GO vet ./... && $GO tool -modfile=../go.mod staticcheck ./...) || failed=1
$GO test -count=1 -run 'Imports|Room' ./relay || failed=1

# Generated code, made again beside the committed one.
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for p in agent/v1/agent.proto control/v1/control.proto; do
  mkdir -p "$tmp/$(dirname $p)"
  cp "proto/$p" "$tmp/$p"
done
$GO run ./proto/generate -root "$tmp" -copies ""
for f in agent/v1/agent.pb.go agent/v1/agent_grpc.pb.go agent/v1/agent.binpb control/v1/control.pb.go control/v1/control_grpc.pb.go; do
  if ! cmp -s "$tmp/$f" "proto/$f"; then
    say "proto/$f is not what the .proto says, run 'make generate'"
    failed=1
  fi
done
for f in plugins/examples/*/relayagent/agent.binpb; do
  if ! cmp -s "$tmp/agent/v1/agent.binpb" "$f"; then
    say "$f is not what the .proto says, run 'make generate'"
    failed=1
  fi
done
if ! $GO mod tidy -diff >/dev/null 2>&1; then
  say "go.mod is not tidy, run 'go mod tidy'"
  failed=1
fi
[ "$failed" = 0 ] && say "good"
exit "$failed"
