# Shared settings; sourced by the scripts beside it.
BENCH_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${BENCH_WORK:=${TMPDIR:-/tmp}/smtpbench}"      # installs, spools, results
: "${BENCH_LOCK:=${TMPDIR:-/tmp}/bench.lock}"     # held during each timed run
: "${RELAY_PORT:=2610}"                           # the relay under test listens here
: "${SINK_PORT:=2600}"                            # and delivers here
: "${AUX_PORT:=2630}"                             # for a milter or proxy of ours
: "${RELAY_BIN:=$(dirname "$BENCH_DIR")/bin/relay}" # the relay of this repository
RUN_DIR=$BENCH_WORK/run                           # a relay's files, made anew
export BENCH_DIR BENCH_WORK BENCH_LOCK RELAY_PORT SINK_PORT AUX_PORT RELAY_BIN RUN_DIR
PATH=$PATH:/usr/sbin:/sbin

build_tools() { # into $BENCH_WORK/bin
  mkdir -p "$BENCH_WORK/bin"
  (cd "$BENCH_DIR" && nice -n 19 go build -buildvcs=false -o "$BENCH_WORK/bin/" ./cmd/...)
}
