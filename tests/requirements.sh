#!/bin/sh
# Installs the Debian packages that some tests run against: real peers, not stand-ins. Only what is missing, and only where
# that is possible; elsewhere it says which tests will be skipped. With CI=true anything missing is a failure.
set -u

# A path that the package brings : the package
WANTED="
/usr/sbin/nginx:nginx-light
/usr/bin/curl:curl
/usr/bin/openssl:openssl
/usr/bin/wrk:wrk
/usr/bin/h2load:nghttp2-client
/usr/bin/systemd-analyze:systemd
/usr/bin/chromium:chromium
/usr/share/doc/python3-doc/html:python3-doc
"

missing() {
    for pair in $WANTED; do
        path=${pair%%:*}
        [ -e "$path" ] || command -v "${path##*/}" >/dev/null 2>&1 || printf '%s ' "${pair#*:}"
    done
}

packages=$(missing)
[ -z "$packages" ] && exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    echo "tests: installing $packages"
    export DEBIAN_FRONTEND=noninteractive
    log=$(mktemp)
    # nginx must not start as a service: the tests run their own
    { apt-get update -q && RUNLEVEL=1 apt-get install -q -y --no-install-recommends $packages; } >"$log" 2>&1 \
        || tail -5 "$log" >&2
    rm -f "$log"
    packages=$(missing)
    [ -z "$packages" ] && exit 0
fi

if [ "${CI:-}" = true ]; then
    echo "tests: missing and not installable here: $packages" >&2
    exit 1
fi
echo "tests: without $packages the tests that need them are skipped (apt-get install $packages)" >&2
exit 0
