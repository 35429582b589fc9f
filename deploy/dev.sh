#!/bin/sh
# Runs in the container of dev.yml: builds /src, serves, and again on a change.
# It reads them all once a second: a mount from another system tells of no
# events, and busybox's find knows times by the second only.
set -eu
cd "${SRC:-/src}"
out=${OUT:-/build}
server=

sources() {
	find ./*.c ./*.h http run site store util Makefile VERSION -type f \
		-exec md5sum {} + 2>/dev/null | md5sum
}

build() {
	built=$(sources)
	if make -j "$(nproc)" STORE="$STORE" OUT="$out/$STORE" >"$out/log" 2>&1; then
		return 0
	fi
	grep -E 'error|warning|\*\*\*' "$out/log" >&2 || cat "$out/log" >&2
	echo "dev.sh: that does not build; the last one that did goes on" >&2
	return 1
}

stop() {
	if [ -n "$server" ]; then
		kill -TERM "$server" 2>/dev/null || true
		wait "$server" || true
	fi
	server=
}

start() {
	cp "$out/$STORE/visitd" "$out/visitd.new"
	mv "$out/visitd.new" "$out/visitd"
	"$out/visitd" &
	server=$!
	echo "dev.sh: built and started" >&2
}

trap 'stop; exit 0' INT TERM
if build; then
	start
fi
while :; do
	sleep 1 &
	wait $!
	if [ "$(sources)" != "$built" ]; then
		if build; then
			stop
			start
		fi
	elif [ -n "$server" ] && ! kill -0 "$server" 2>/dev/null; then
		echo "dev.sh: visitd has ended; waiting for a change" >&2
		wait "$server" || true
		server=
	fi
done
