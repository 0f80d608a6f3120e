#!/bin/sh
# Installs the Debian packages that the tests need, as root; otherwise prints what is missing.
# chromium: the browser tests. redis-server, postgresql: the cluster tests. gettext: the translations.
# nginx: the proxy of deploy/.
set -eu

missing=""
command -v chromium >/dev/null || missing="$missing chromium"
command -v redis-server >/dev/null || missing="$missing redis-server"
ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || missing="$missing postgresql"
command -v nginx >/dev/null || [ -x /usr/sbin/nginx ] || missing="$missing nginx"
command -v xgettext >/dev/null || missing="$missing gettext"
command -v node >/dev/null || missing="$missing nodejs"
fc-list 2>/dev/null | grep -q "Noto Sans CJK" || missing="$missing fonts-noto-cjk"
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    # shellcheck disable=SC2086 # a list of words
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
else
    echo "Not installed, and only root can install it:$missing"
    echo "Tests that need it are skipped."
fi
