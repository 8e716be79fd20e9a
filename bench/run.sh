#!/bin/bash
# Usage: run.sh [-r RUNS] [-s "SCENARIO..."] [-o RESULTS.jsonl] PEER[:MODE]...
# Runs the relays under test in turn, RUNS times over, and prints tables.
# A PEER is a script in peers/; "direct" is the load straight into the sink.
# A peer that is not installed is left out, and said so.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
runs=3 scenarios="4k 4k-conn 4k-1 50k 5M" out=$BENCH_WORK/results.jsonl
while getopts r:s:o: o; do
  case $o in
    r) runs=$OPTARG ;;
    s) scenarios=$OPTARG ;;
    o) out=$OPTARG ;;
    *) exit 2 ;;
  esac
done
shift $((OPTIND - 1))
: "${BENCH_SECONDS:=4}" "${BENCH_DRAIN:=60}" "${BENCH_NICE:=0}" "${BENCH_RATE:=300}"
bench=$BENCH_WORK/bin/smtpbench
[ -x "$bench" ] || { echo "the tools are not built: run setup.sh first" >&2; exit 1; }

relays=()
for relay in "$@"; do
  if [ "${relay%%:*}" != direct ]; then
    [ -f "$BENCH_DIR/peers/${relay%%:*}.sh" ] || { echo "no peer ${relay%%:*} in $BENCH_DIR/peers" >&2; exit 2; }
    why=$(bash "$BENCH_DIR/peers/${relay%%:*}.sh" check) || why="its check failed"
    [ -z "$why" ] || { echo "!! $relay SKIPPED: $why" >&2; continue; }
  fi
  relays+=("$relay")
done
[ ${#relays[@]} -gt 0 ] || { echo "nothing left to measure" >&2; exit 1; }

group=smtpbench.$$
if [ -d /sys/fs/cgroup/cpuacct ]; then
  group_dir=/sys/fs/cgroup/cpuacct/$group
else
  group_dir=/sys/fs/cgroup/$group
fi
mkdir "$group_dir" || { echo "needs a control group, to count the relay's CPU: run as root" >&2; exit 1; }

stop_relay() { # ends what was started in the group, by process id
  local sig pids
  for sig in TERM TERM KILL KILL; do
    for _ in {1..25}; do
      pids=$(cat "$group_dir/cgroup.procs")
      [ -n "$pids" ] || return 0
      kill -$sig $pids 2>/dev/null || true
      sleep 0.2
    done
  done
}
trap 'stop_relay; rmdir "$group_dir"' EXIT

is_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

start_relay() { # peer mode
  if is_open "$RELAY_PORT"; then
    echo "port $RELAY_PORT is taken: $1:$2 not measured" >&2
    return 1
  fi
  rm -rf "$RUN_DIR"
  mkdir -p "$RUN_DIR"
  (echo $BASHPID >"$group_dir/cgroup.procs" && exec nice -n "$BENCH_NICE" bash "$BENCH_DIR/peers/$1.sh" "$2") \
    >"$BENCH_WORK/$1-$2.log" 2>&1 </dev/null 9>&- &
  for _ in {1..100}; do
    is_open "$RELAY_PORT" && sleep 0.5 && return
    sleep 0.1
  done
  echo "$1:$2 did not start: $BENCH_WORK/$1-$2.log" >&2
  return 1
}

measure() { # label scenario target-port
  local args=()
  case $2 in
    4k) args=(-size 4096 -sessions 20) ;;
    4k-conn) args=(-size 4096 -sessions 20 -reuse=false) ;;
    4k-100) args=(-size 4096 -sessions 100) ;;
    4k-1) args=(-size 4096 -sessions 1) ;;
    50k) args=(-size 51200 -sessions 20) ;;
    4k-load) args=(-size 4096 -sessions 20 -rate "$BENCH_RATE") ;;
    5M) args=(-size 5242880 -sessions 4) ;;
    *) echo "no scenario $2" >&2; exit 2 ;;
  esac
  [[ $1 != *rewrite* ]] || args+=(-rewrite)
  [ "$1" = direct ] || args+=(-cgroup "$group")
  nice -n "$BENCH_NICE" "$bench" run -target "127.0.0.1:$3" -sink "127.0.0.1:$SINK_PORT" \
    -duration "${BENCH_SECONDS}s" -warmup 500ms -drain "${BENCH_DRAIN}s" -stall 12s -quiet "$quiet" -label "$1" -scenario "$2" -round "$round" -out "$out" "${args[@]}" 9>&- || true
  quiet=0
}

exec 9>>"$BENCH_LOCK"
for ((run = 1; run <= runs; run++)); do
  round=$(date +%s).$run
  flock 9 # held for a round: its relays are to meet the same machine
  for relay in "${relays[@]}"; do
    quiet=${BENCH_QUIET:-5s} # longest wait for an idle machine, before its first scenario
    peer=${relay%%:*} mode=${relay#*:}
    if [ "$peer" = direct ]; then
      for s in $scenarios; do measure direct "$s" "$SINK_PORT"; done
      continue
    fi
    if start_relay "$peer" "$mode"; then
      for s in $scenarios; do measure "$relay" "$s" "$RELAY_PORT"; done
    fi
    stop_relay
  done
  flock -u 9
done
"$bench" report "$out"
