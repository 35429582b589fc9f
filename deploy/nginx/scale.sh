#!/bin/sh
# Run so many replicas of app, and tell nginx.
#
#	deploy/nginx/scale.sh 3
#
# A new replica gets its first visit once it can count; one that goes answers
# what it has, refuses what is new, which nginx then sends to another.
set -eu

case ${1-} in
'' | *[!0-9]* | 0*)
	echo "usage: scale.sh REPLICAS" >&2
	exit 100
	;;
esac
replicas=$1
cd "$(dirname "$0")"

if docker compose version >/dev/null 2>&1; then
	compose() { docker compose "$@"; }
else
	compose() { docker-compose "$@"; }
fi

compose up -d --no-recreate --no-build --scale app="$replicas" app

patience=60
for replica in $(compose ps -q app); do
	until docker exec "$replica" /usr/local/bin/visitd health >/dev/null 2>&1; do
		patience=$((patience - 1))
		if [ "$patience" -eq 0 ]; then
			echo "scale.sh: $replica is not healthy: docker logs $replica" >&2
			exit 1
		fi
		sleep 1
	done
done

# nginx asks for the addresses of app when it reads its configuration.
for nginx in $(compose ps -q nginx); do
	docker exec "$nginx" nginx -s reload
done
echo "scale.sh: app runs $replicas times, and nginx knows"
