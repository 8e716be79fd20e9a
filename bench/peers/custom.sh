# Any relay: RELAY_CMD is run by the shell in an empty folder, $RUN_DIR. It
# must listen on 127.0.0.1:$RELAY_PORT and forward to 127.0.0.1:$SINK_PORT.
# The mode is only a label; one with "rewrite" in it expects the rewriting.
set -euo pipefail
if [ "$1" = check ]; then
  [ -n "${RELAY_CMD:-}" ] || echo "RELAY_CMD is not set"
  exit 0
fi
cd "$RUN_DIR"
exec bash -c "$RELAY_CMD"
