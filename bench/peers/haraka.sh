# Haraka. Modes: forward (queue/smtp_forward), forward-rewrite (with a plugin
# of ours, in its process), outbound (its disk queue), outbound-rewrite.
# Its 250 (forward): the next hop has answered; nothing is on disk here.
# Its 250 (outbound): the queue file is fsynced, its folder is not.
set -euo pipefail
if [ "$1" = check ]; then
  [ -d "$BENCH_WORK/haraka/node_modules/Haraka" ] || echo "Haraka is not installed below $BENCH_WORK"
  exit 0
fi
mode=$1
mkdir -p "$RUN_DIR"/{config,plugins,queue}
cd "$RUN_DIR"
plugins=bench_accept
case $mode in
  forward*) plugins+=$'\nqueue/smtp_forward' ;;
  outbound*) plugins+=$'\nbench_route' ;;
  *) exit 2 ;;
esac
case $mode in *rewrite) plugins=bench_rewrite$'\n'$plugins ;; esac
echo "$plugins" >config/plugins
echo relay.example >config/me
printf 'listen=127.0.0.1:%s\nnodes=cpus\n' "$RELAY_PORT" >config/smtp.ini
printf 'host=127.0.0.1\nport=%s\n' "$SINK_PORT" >config/smtp_forward.ini
printf 'enable_tls=false\nlocal_mx_ok=true\nconcurrency_max=20\n' >config/outbound.ini
printf '[main]\nlevel=notice\n' >config/log.ini
sed 's/^;* *bytes *=.*/bytes=104857600/' "$BENCH_WORK/haraka/node_modules/Haraka/config/connection.ini" >config/connection.ini
case $mode in outbound*) relaying=true ;; *) relaying=false ;; esac
cat >plugins/bench_accept.js <<EOF
exports.hook_connect = (next, connection) => {
  connection.relaying = $relaying
  next()
}
exports.hook_rcpt = (next) => next(OK)
EOF
cat >plugins/bench_route.js <<EOF
exports.hook_get_mx = (next, hmail, domain) =>
  next(OK, { exchange: '127.0.0.1', port: $SINK_PORT, priority: 0 })
EOF
cat >plugins/bench_rewrite.js <<'EOF'
const { Address } = require('@haraka/email-address')
exports.hook_data_post = (next, connection) => {
  const t = connection.transaction
  t.remove_header('Subject')
  t.add_header('Subject', '[bench] rewritten')
  t.add_header('X-Bench-Rewrite', 'yes')
  t.rcpt_to = [new Address('<rewritten@dest.example>')]
  next()
}
EOF
ln -s "$BENCH_WORK/haraka/node_modules" node_modules
exec node "$BENCH_WORK/haraka/node_modules/Haraka/bin/haraka" -c "$RUN_DIR"
