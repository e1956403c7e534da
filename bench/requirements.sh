#!/bin/sh
# Installs the Debian packages of the programs that are named, or of all that the benchmarks run: only what is missing, and
# only where that is possible. Debian would start the servers as services; here it must not.
set -u
PATH=$PATH:/usr/sbin

WANTED="wrk:wrk h2load:nghttp2-client nginx:nginx-light haproxy:haproxy varnishd:varnish traffic_server:trafficserver openssl:openssl cc:gcc"

packages=
for pair in $WANTED; do
    case " ${*:-${pair%%:*}} " in *" ${pair%%:*} "*) ;; *) continue ;; esac
    command -v "${pair%%:*}" >/dev/null 2>&1 || packages="$packages ${pair#*:}"
done
[ -z "$packages" ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1; then
    echo "bench: not installed, and not installable here:$packages" >&2
    exit 1
fi
echo "bench: installing$packages" >&2
export DEBIAN_FRONTEND=noninteractive
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
    trap 'rm -f $policy $log' EXIT
fi
# shellcheck disable=SC2086
{ apt-get update -q && apt-get install -q -y --no-install-recommends $packages; } >"$log" 2>&1 || { tail -5 "$log" >&2; exit 1; }
