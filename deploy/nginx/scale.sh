#!/bin/sh
# Run so many replicas of app, and tell nginx.
#
#	deploy/nginx/scale.sh 3
#
# A new replica gets its first visit once it can count. One that goes is left
# out by nginx before it stops, so that no visitor meets its end. Until all is
# done nginx has a list of addresses; then the name `app` again.
#
# NGINX="nginx nginx2" names the services that are nginx, if there are more.
set -eu

case ${1-} in
'' | *[!0-9]* | 0*)
	echo "usage: scale.sh REPLICAS" >&2
	exit 100
	;;
esac
wanted=$1
cd "$(dirname "$0")"

if docker compose version >/dev/null 2>&1; then
	compose() { docker compose "$@"; }
else
	compose() { docker-compose "$@"; }
fi

# The containers of a service, by number; more of docker ps's options may follow.
containers() {
	service=$1
	shift
	for id in $(docker ps -q --filter "label=com.docker.compose.project=$project" \
		--filter "label=com.docker.compose.service=$service" \
		--filter "label=com.docker.compose.oneoff=False" "$@"); do
		docker inspect -f "{{index .Config.Labels \"$number\"}} {{.Id}}" "$id"
	done | sort -n | sed 's/.* //'
}

# The lines on standard input are the servers of the upstream. Old workers end
# when they have answered; those with event streams are not waited for long.
tell_nginx() {
	servers=$(cat)
	[ -n "$servers" ] || return 0
	for nginx in ${NGINX:-nginx}; do
		for id in $(containers "$nginx" --filter status=running); do
			echo "$servers" | docker exec -i "$id" sh -c '
				workers=$(ps | sed -n "s/^ *\([0-9]*\).*[n]ginx: worker.*/\1/p")
				/docker-entrypoint.d/50-follow.sh know
				cat >/tmp/visitd/upstream.conf
				nginx -s reload || exit 1
				for tenth in $(seq 100); do
					alive=
					for worker in $workers; do
						! kill -0 "$worker" 2>/dev/null || alive=$worker
					done
					[ -n "$alive" ] || break
					sleep 0.1
				done'
		done
	done
}

wait_healthy() {
	patience=60
	until docker exec "$1" /usr/local/bin/visitd health >/dev/null 2>&1; do
		patience=$((patience - 1))
		if [ "$patience" -eq 0 ]; then
			echo "scale.sh: $1 is not healthy: docker logs $1" >&2
			exit 1
		fi
		sleep 1
	done
}

first=$(compose ps -q app | head -n 1)
if [ -z "$first" ]; then
	echo "scale.sh: nothing runs here: docker compose up -d --build" >&2
	exit 1
fi
number=com.docker.compose.container-number
project=$(docker inspect -f \
	'{{index .Config.Labels "com.docker.compose.project"}}' "$first")

# Those that run stay before those that do not. Versions of compose differ in
# which ones they take away, so that nothing is left to them.
replicas=$({
	containers app --filter status=running
	containers app -a
} | awk '!seen[$0]++')
for id in $(echo "$replicas" | head -n "$wanted"); do
	docker inspect -f '{{range .NetworkSettings.Networks}}{{if .IPAddress}}server {{.IPAddress}}:5000 max_fails=1 fail_timeout=10s;{{end}}{{end}}' "$id"
done | tell_nginx
for id in $(echo "$replicas" | tail -n "+$((wanted + 1))"); do
	docker stop "$id" >/dev/null
	docker rm "$id" >/dev/null
done

compose up -d --no-recreate --no-build --scale app="$wanted" app
for id in $(containers app); do
	wait_healthy "$id"
done
echo "server app:5000 max_fails=1 fail_timeout=10s;" | tell_nginx
echo "scale.sh: app runs $wanted times, and nginx knows"
