#!/bin/sh
# Run by the image of nginx before nginx starts, and stays beside it: nginx asks
# only when it starts or reloads which addresses the name `app` has, and a
# replica that is started again, or built anew, gets another one. Asks every
# second, and reloads nginx when the answer is another.
#
# While scale.sh is at work, nginx has a list of addresses in the place of the
# name, and is left alone; `follow.sh know` notes what it is about to load.
set -eu

out=${OUT:-/tmp/visitd}

know() {
	nslookup app 2>/dev/null | sed -n '/^Name:/,$s/^Address[^:]*: *//p' |
		sort -u >"$1"
}

follow() {
	while sleep 1; do
		grep -q "server app:" "$out/upstream.conf" || continue
		know "$out/now"
		[ -s "$out/now" ] || continue
		if ! cmp -s "$out/now" "$out/known" && nginx -s reload; then
			mv "$out/now" "$out/known"
		fi
	done
}

know "$out/known"
if [ "${1-}" != know ]; then
	follow </dev/null &
fi
