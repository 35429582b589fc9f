#!/bin/sh
# Run by the image of nginx before nginx starts: writes what is included from
# /tmp/visitd, by what there is among the secrets:
#
#	tls.crt, tls.key    listen on 443
#	htpasswd            basic auth for PUT and DELETE
#	admin_token         what visitd then gets (ADMIN_TOKEN_FILE)
#
# and by RATE_LIMIT, requests a second and address; 0: no limit.
set -eu

secrets=${SECRETS:-/run/secrets}
out=${OUT:-/tmp/visitd}
rate=${RATE_LIMIT:-100}

fail() {
	echo "optional.sh: $*" >&2
	exit 1
}

readable() {
	[ ! -e "$secrets/$1" ] || [ -r "$secrets/$1" ] ||
		fail "$secrets/$1 cannot be read by $(id -un) (uid $(id -u)): chown it"
	[ -e "$secrets/$1" ]
}

case $rate in
'' | *[!0-9]*) fail "RATE_LIMIT=$rate: takes requests a second, or 0" ;;
esac

mkdir -p "$out"
echo "server app:5000 max_fails=1 fail_timeout=10s;" >"$out/upstream.conf"
: >"$out/admin.conf"
: >"$out/server.conf"
echo "map \$request_method \$visitd_authorization {
	default \$http_authorization;" >"$out/http.conf"

if readable htpasswd; then
	echo "auth_basic visitd;
auth_basic_user_file $secrets/htpasswd;" >"$out/admin.conf"
	if readable admin_token; then
		token=$(cat "$secrets/admin_token")
		case $token in
		'' | *[!A-Za-z0-9._~+/=-]*)
			fail "admin_token: takes letters, digits and ._~+/=-"
			;;
		esac
		echo "	PUT \"Bearer $token\";
	DELETE \"Bearer $token\";" >>"$out/http.conf"
	fi
fi
echo '}' >>"$out/http.conf"
chmod 600 "$out/http.conf"

if [ "$rate" -gt 0 ]; then
	echo "limit_req_zone \$binary_remote_addr zone=visitd:10m rate=${rate}r/s;" \
		>>"$out/http.conf"
	echo "limit_req zone=visitd burst=$((rate * 2)) nodelay;
limit_req_status 429;" >>"$out/server.conf"
fi

if readable tls.crt; then
	readable tls.key || fail "there is $secrets/tls.crt, but no tls.key"
	echo "listen 443 ssl default_server;
ssl_certificate $secrets/tls.crt;
ssl_certificate_key $secrets/tls.key;
ssl_protocols TLSv1.2 TLSv1.3;
ssl_session_cache shared:tls:1m;
ssl_session_tickets off;" >>"$out/server.conf"
fi
