# Exim as a smarthost client. Modes: queue, cutthrough (delivers while it
# receives), queue-rewrite and cutthrough-rewrite (rewriting by configuration,
# inside Exim: there is no out-of-process agent to compare).
# Its 250: data, header and folder are fsynced, under cutthrough too (where the
# next hop has also answered).
set -euo pipefail
if [ "$1" = check ]; then
  [ -x "$BENCH_WORK/root/exim/usr/sbin/exim4" ] || echo "Exim is not unpacked below $BENCH_WORK"
  exit 0
fi
mode=$1 control= headers= redirect=
case $mode in cutthrough*) control='control = cutthrough_delivery/defer=pass' ;; esac
case $mode in
  *rewrite)
    headers='remove_header = Subject
          add_header = Subject: [bench] rewritten
          add_header = X-Bench-Rewrite: yes'
    redirect='rewrite:
  driver = redirect
  local_parts = rcpt
  data = rewritten@$domain' ;;
esac
mkdir -p "$RUN_DIR"/{spool,log}
chown Debian-exim: "$RUN_DIR"/{spool,log}
cat >"$RUN_DIR/exim.conf" <<EOF
primary_hostname = relay.example
exim_user = Debian-exim
spool_directory = $RUN_DIR/spool
log_file_path = $RUN_DIR/log/%slog
local_interfaces = 127.0.0.1
daemon_smtp_ports = $RELAY_PORT
disable_ipv6
tls_advertise_hosts =
host_lookup =
acl_smtp_rcpt = rcpt
message_size_limit = 100M
never_users =
# Tuning, after the specification's chapters on SMTP processing and efficiency.
rfc1413_query_timeout = 0s
split_spool_directory
message_logs = false
deliver_drop_privilege
smtp_accept_max = 200
smtp_accept_max_per_connection = 0
smtp_accept_queue_per_connection = 0
smtp_connect_backlog = 100
queue_run_max = 20

begin acl
rcpt:
  accept  control = dkim_disable_verify
          $control
          $headers

begin routers
$redirect
smarthost:
  driver = manualroute
  route_list = * 127.0.0.1::$SINK_PORT byname
  self = send
  transport = smarthost

begin transports
smarthost:
  driver = smtp
  allow_localhost
  hosts_avoid_tls = *
  hosts_try_dane =
  dnssec_request_domains =
  connection_max_messages = 0

begin retry
* * F,1h,5s
EOF
exec "$BENCH_WORK/root/exim/usr/sbin/exim4" -C "$RUN_DIR/exim.conf" -bdf -q10s
