# Postfix. Modes: queue, proxy (smtpd_proxy_filter straight to the next hop),
# proxy-spool (the same, with speed_adjust), proxy-rewrite (through a content
# filter of ours), noop and rewrite (a milter).
# Its 250 (queue, noop, rewrite): the queue file is fsynced, its folder is not.
# With a proxy: the next hop has answered 250; nothing is on disk here.
set -euo pipefail
if [ "$1" = check ]; then
  command -v postfix >/dev/null || echo "Postfix is not installed"
  exit 0
fi
mode=$1 service_opts=() milter=
case $mode in
  queue) ;;
  proxy) service_opts=(-o "smtpd_proxy_filter=127.0.0.1:$SINK_PORT") ;;
  proxy-spool) service_opts=(-o "smtpd_proxy_filter=127.0.0.1:$SINK_PORT" -o smtpd_proxy_options=speed_adjust) ;;
  proxy-rewrite)
    "$BENCH_WORK/bin/benchproxy" -listen "127.0.0.1:$AUX_PORT" -next "127.0.0.1:$SINK_PORT" &
    service_opts=(-o "smtpd_proxy_filter=127.0.0.1:$AUX_PORT") ;;
  # A milter over TCP would cost a delayed acknowledgement, 40 ms, a message.
  noop) "$BENCH_WORK/bin/benchmilter" -listen "$RUN_DIR/milter" & milter=unix:$RUN_DIR/milter ;;
  rewrite) "$BENCH_WORK/bin/benchmilter" -listen "$RUN_DIR/milter" -rewrite & milter=unix:$RUN_DIR/milter ;;
  *) exit 2 ;;
esac
mkdir -p "$RUN_DIR"/{etc,spool,data,log}
chown postfix "$RUN_DIR/data"
cat >"$RUN_DIR/etc/main.cf" <<EOF
compatibility_level = 3.6
queue_directory = $RUN_DIR/spool
data_directory = $RUN_DIR/data
maillog_file = $RUN_DIR/log/mail.log
maillog_file_prefixes = $RUN_DIR/log
myhostname = relay.example
mydestination =
local_recipient_maps =
local_transport = error:no local mail
alias_maps =
mynetworks = 127.0.0.0/8
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
relayhost = [127.0.0.1]:$SINK_PORT
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_peername_lookup = no
smtpd_tls_security_level = none
smtp_tls_security_level = none
smtp_dns_support_level = disabled
smtp_host_lookup = native
message_size_limit = 104857600
# The load is to be a stranger, as on an MX, not a local client.
local_header_rewrite_clients =
mailbox_size_limit = 0
# Tuning, after Postfix's TUNING_README and CONNECTION_CACHE_README.
default_process_limit = 100
initial_destination_concurrency = 20
default_destination_concurrency_limit = 20
# No connection cache: to a next hop this near, and without TLS, handing a
# connection through scache costs more than opening one (a third less CPU).
smtp_connection_cache_on_demand = ${POSTFIX_CACHE:-no}
in_flow_delay = 0
max_use = 1000
qmgr_message_active_limit = 20000
smtpd_client_connection_count_limit = 0
smtpd_milters = $milter
milter_default_action = tempfail
EOF
cat >"$RUN_DIR/etc/master.cf" <<EOF
127.0.0.1:$RELAY_PORT inet n - n - - smtpd ${service_opts[*]}
pickup    unix  n - n 60 1 pickup
cleanup   unix  n - n - 0 cleanup
qmgr      unix  n - n 300 1 qmgr
tlsmgr    unix  - - n 1000? 1 tlsmgr
rewrite   unix  - - n - - trivial-rewrite
bounce    unix  - - n - 0 bounce
defer     unix  - - n - 0 bounce
trace     unix  - - n - 0 bounce
verify    unix  - - n - 1 verify
flush     unix  n - n 1000? 0 flush
proxymap  unix  - - n - - proxymap
proxywrite unix - - n - 1 proxymap
smtp      unix  - - n - - smtp
relay     unix  - - n - - smtp
showq     unix  n - n - - showq
error     unix  - - n - - error
retry     unix  - - n - - error
discard   unix  - - n - - discard
anvil     unix  - - n - 1 anvil
scache    unix  - - n - 1 scache
postlog   unix-dgram n - n - 1 postlogd
EOF
exec postfix -c "$RUN_DIR/etc" start-fg
