#!/bin/sh
# Writes the npm libraries of the page into static/vendor, each as one ES module with its licence.
# Run it by hand after a change of a version: make vendor. It uses the registry that npm is configured for.
set -eu
cd "$(dirname "$0")/.."
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# unpack NAME VERSION SHA512: unpack a package into $work/NAME
unpack() {
	(cd "$work" && npm pack --silent "$1@$2" > /dev/null)
	archive="$work/$1-$2.tgz"
	[ "$(openssl dgst -sha512 -binary "$archive" | openssl base64 -A)" = "$3" ] || {
		echo "$1 $2 is not the package that was reviewed." >&2
		exit 1
	}
	mkdir "$work/$1"
	tar xzf "$archive" -C "$work/$1" --strip-components=1
}

# KaTeX is published as a script that sets a global variable.
unpack katex 0.16.47 "Eeo8Ys1doU1z+x8AZsPpQu+p/QcZBI5PeOo7QGQdy2x2m0MU/hYagBbGOmXwr5KVbEfVuWv9LpnQWeehogurjg=="
mkdir -p static/vendor/katex
{ cat "$work/katex/dist/katex.min.js"; printf '\nexport const katex = globalThis.katex;\n'; } > static/vendor/katex/katex.js
cp "$work/katex/LICENSE" static/vendor/katex/LICENSE
