#!/bin/bash
# Usage: bench.sh [-r ROUNDS] [-s "SCENARIO..."] [-g]
# What `make bench` runs: builds, loads the relay and the rivals in turn, then
# compares agents with milters, and prints tables and ratios beside the bars to
# reach. With -g it exits 1 where a bar that must be reached is not.
# RIVALS, AGENTBENCH_FLAGS and the settings of lib.sh and run.sh from the
# environment.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
rounds=3 scenarios="4k 4k-load 4k-conn 4k-1 50k 5M" gate=()
while getopts r:s:g o; do
  case $o in
    r) rounds=$OPTARG ;;
    s) scenarios=$OPTARG ;;
    g) gate=(-gate) ;;
    *) exit 2 ;;
  esac
done
: "${RIVALS:=postfix:proxy postfix:proxy-rewrite}" "${AGENTBENCH_FLAGS:=}" "${BENCH_SECONDS:=3}" "${BENCH_MAX_OTHER:=100}"
export BENCH_SECONDS

build_tools
(cd "$BENCH_DIR/.." && go build -o "$RELAY_BIN" ./cmd/relay)

stamp=$(date +%Y%m%d-%H%M%S)
out=$BENCH_WORK/results-$stamp.jsonl failed=
report=$BENCH_WORK/report-$stamp.md

say() { tee -a "$report"; }
step() { "$@" | say || failed=yes; } # a step that fails does not take the others' results along

# shellcheck disable=SC2086 # RIVALS, AGENTBENCH_FLAGS are lists
{
  step "$BENCH_DIR/run.sh" -r "$rounds" -s "$scenarios" -o "$out" direct relay:pass relay:rewrite $RIVALS
  if [ -s "$out" ]; then
    printf '\n### The relay beside its rivals\n\n' | say
    step "$BENCH_WORK/bin/smtpbench" ratios "${gate[@]}" -max-other "$BENCH_MAX_OTHER" "$out"
  fi
  step flock "$BENCH_LOCK" "$BENCH_WORK/bin/agentbench" -rounds "$rounds" "${gate[@]}" $AGENTBENCH_FLAGS
}
printf '\nresults: %s\nreport:  %s\n' "$out" "$report"
[ -z "$failed" ]
