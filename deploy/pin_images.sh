#!/bin/sh
# Pins the images of compose.yaml and Dockerfile to the digests that their tags have now, as name:tag@sha256:…
# Run it where Docker reaches the registry, then commit both files; run it again to move to newer images.
#   sh deploy/pin_images.sh
set -eu
cd "$(dirname "$0")"

named='s/^ *\(image:\|FROM\) \([a-z][a-z/]*:[0-9][0-9a-z.-]*\).*/\2/p'
script=
for image in $(sed -n "$named" compose.yaml Dockerfile | sort -u); do
    digest=$(docker buildx imagetools inspect --format '{{.Manifest.Digest}}' "$image")
    if ! printf '%s\n' "$digest" | grep -Eqx 'sha256:[0-9a-f]{64}'; then
        echo "Docker returned no digest for $image: $digest. Nothing was changed." >&2
        exit 1
    fi
    script="$script
s#^\( *\(image:\|FROM\) $image\)\(@sha256:[0-9a-f]*\)\{0,1\}\( .*\)\{0,1\}\$#\1@$digest\4#"
    echo "$image@$digest"
done
sed -i.before "$script" compose.yaml Dockerfile
rm compose.yaml.before Dockerfile.before
