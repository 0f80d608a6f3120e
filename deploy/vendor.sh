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

# The page's Content-Security-Policy refuses <style> elements and style attributes. A style sheet that is constructed
# and a style that a script sets are allowed. The picker throws if a new search has fewer results than the number of
# the chosen one.
unpack emoji-picker-element 1.29.1 "TOiHzu9Dqib3x4MwcAi3wi3RdyT4SoeB4b15AvH1ks4SBwTl7DeebhZ0d3x6dNi4XfNU7IGRZ7NBQllj0RqwrQ=="
unpack emoji-picker-element-data 1.8.0 "VfRuRJNEDLS1JKlNS4olaqhjX5S1nnZ+ZHG73b/dV8QeZyi0yPruTPEE72EmF6XO3k/9hj3lybMIYMOYXb/57A=="
emoji=static/vendor/emoji-picker-element
mkdir -p $emoji
sed -e "s/const style = document.createElement('style');/const style = new CSSStyleSheet();/" \
	-e "s/style.textContent = baseStyles + EXTRA_STYLES;/style.replaceSync(baseStyles + EXTRA_STYLES);/" \
	-e "s/this.shadowRoot.appendChild(style);/this.shadowRoot.adoptedStyleSheets = [style];/" \
	-e "s/targetNode.setAttribute(attributeName, newValue);/if (attributeName === 'style') targetNode.style.cssText = newValue;\n        else &/" \
	-e "s/state.currentEmojis\[state.activeSearchItem\].id/state.currentEmojis[state.activeSearchItem]?.id/" \
	-e "/^\/\/# source/d" "$work/emoji-picker-element/picker.js" > $emoji/picker.js
sed -e "/^\/\/# source/d" "$work/emoji-picker-element/database.js" > $emoji/database.js
for language in en ko; do
	cp "$work/emoji-picker-element-data/$language/cldr/data.json" $emoji/$language.json
done
cp "$work/emoji-picker-element/LICENSE" $emoji/LICENSE
cp "$work/emoji-picker-element-data/LICENSE" $emoji/LICENSE-data
