# OpenSMTPD. Modes: queue, noop and rewrite (a filter of its proc API).
# Its spool is compiled in: it is given a place of ours by a mount of its own.
# Its 250: the message is in the queue folder, written but not fsynced.
set -euo pipefail
if [ "$1" = check ]; then
  [ -x "$BENCH_WORK/root/opensmtpd/usr/sbin/smtpd" ] || echo "OpenSMTPD is not unpacked below $BENCH_WORK"
  exit 0
fi
mode=$1 filter= proc=
case $mode in
  queue) ;;
  noop) proc="\"$BENCH_WORK/bin/osmtpdfilter\"" filter='filter bench' ;;
  rewrite) proc="\"$BENCH_WORK/bin/osmtpdfilter -rewrite\"" filter='filter bench' ;;
  *) exit 2 ;;
esac
{
  echo 'smtp limit max-mails 1000000'
  echo 'smtp max-message-size 100M'
  echo 'mta max-deferred 10000'
  # Undocumented, but in its grammar: without these it opens few connections,
  # and waits seconds between them. It sends the final dot by itself and leaves
  # Nagle's algorithm on, so each message waits for a delayed acknowledgement
  # of the next hop (40 to 200 ms): only many connections make up for it.
  for limit in 'max-conn-per-route 100' 'max-conn-per-host 100' 'max-conn-per-connector 100' \
    'conn-delay-route 0' 'conn-delay-relay 0' 'session-mail-max 10000' \
    'task-hiwat 1000' 'task-lowat 500' 'task-release 500'; do
    echo "mta limit $limit"
  done
  echo 'scheduler limit max-inflight 50000'
  [ -z "$proc" ] || echo "filter bench proc-exec $proc"
  echo "listen on 127.0.0.1 port $RELAY_PORT hostname relay.example $filter"
  echo "action out relay host smtp+notls://127.0.0.1:$SINK_PORT"
  echo 'match from any for any action out'
} >"$RUN_DIR/smtpd.conf"
smtpd=$BENCH_WORK/root/opensmtpd/usr/sbin/smtpd
mkdir -m 711 "$RUN_DIR/spool"
echo 'lookup file' >"$RUN_DIR/resolv.conf" # else it asks the DNS about each client
exec unshare -m bash -c 'mount --bind "$1/spool" /var/spool/smtpd &&
  mount --bind "$1/resolv.conf" /etc/resolv.conf &&
  exec "$2" -d -f "$1/smtpd.conf"' - "$RUN_DIR" "$smtpd"
