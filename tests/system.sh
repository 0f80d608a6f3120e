#!/bin/sh
# Installs the Debian packages that the tests need, as root; otherwise prints what is missing.
# chromium-headless-shell: the browser tests. redis-server, postgresql: the cluster tests.
# gettext: the translations. nginx: the proxy of deploy/. promtool: the alarms of deploy/; only this
# program of Debian's package prometheus is installed, because the package would start a server.
set -eu

missing=""
command -v chromium-headless-shell >/dev/null || missing="$missing chromium-headless-shell"
command -v redis-server >/dev/null || missing="$missing redis-server"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx"
command -v pgbouncer >/dev/null || [ -x /usr/sbin/pgbouncer ] || missing="$missing pgbouncer"
command -v xgettext >/dev/null || missing="$missing gettext"
command -v node >/dev/null || missing="$missing nodejs"
fc-list 2>/dev/null | grep -q "Noto Sans CJK" || missing="$missing fonts-noto-cjk"
command -v promtool >/dev/null || missing="$missing prometheus"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    case "$missing" in *" prometheus"*)
        missing="${missing% prometheus}"
        folder=$(mktemp -d)
        (cd "$folder" && apt-get download -qq prometheus 2>/dev/null)
        dpkg-deb --fsys-tarfile "$folder"/prometheus_*.deb | tar -xO ./usr/bin/promtool > "$folder/promtool"
        install -m 755 "$folder/promtool" /usr/local/bin/promtool
        rm -r "$folder" ;;
    esac
    [ -n "$missing" ] || exit 0
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Not installed, and only root can install it:$missing"
    echo "Tests that need it are skipped."
fi
