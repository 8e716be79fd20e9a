# The relay of this repository as a FrontEnd. Modes: pass (no agent) and
# rewrite (one agent in a process of its own, bound to OnEndOfHeaders).
# Its 250: the next hop has answered 250; nothing is on disk here.
set -euo pipefail
mode=$1 agent=$BENCH_WORK/bin/benchagent
if [ "$mode" = check ]; then
  if [ ! -x "$RELAY_BIN" ]; then
    echo "$RELAY_BIN is not built: make build"
  elif [ ! -x "$agent" ]; then
    echo "$agent is not built: bench/setup.sh"
  fi
  exit 0
fi
case $mode in pass | rewrite) ;; *) echo "no mode $mode" >&2; exit 2 ;; esac
config=$RUN_DIR/config.toml
cat >"$config" <<TOML
hostname  = "relay.example"
state_dir = "state"

[[accepted_domain]]
name = "dest.example"

[next_hop.sink]
addresses = ["127.0.0.1:$SINK_PORT"]
tls       = "none"

[frontend]
next_hop = "sink"

[[frontend.listener]]
address = "127.0.0.1:$RELAY_PORT"
tls     = "none"

[limits]
message_size = "100MB"
TOML
if [ "$mode" = rewrite ]; then
  # No relay runs yet: the commands work on the files.
  "$RELAY_BIN" install-agent bench-rewrite --config "$config" --path "$agent" --factory rewrite \
    --transport-service FrontEnd --yes
  "$RELAY_BIN" enable-agent bench-rewrite --config "$config" --transport-service FrontEnd --yes
fi
exec "$RELAY_BIN" serve --config "$config"
