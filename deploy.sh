#!/bin/sh
# Release the default stack: remove the old containers and the old image, build
# for the given platforms, push, run.
set -eu

usage() {
	cat <<'END'
usage: ./deploy.sh [--dry-run] [--no-push] [--platform LIST]

Stops and removes the containers of IMAGE, deletes the local image, builds it
anew (docker buildx where there is one), pushes it to its registry, and runs
docker-compose.yml with --build. Volumes stay. The image is tagged with its own
tag, with the version, and with the version and the git commit.

  --dry-run         print the commands, run none that changes anything; needs
                    no engine
  --no-push         build and run here only
  --platform LIST   such as linux/amd64,linux/arm64; default: this machine's
  --help            this text

Environment:
  IMAGE             default visitd:latest; a push needs the registry or the
                    user in it, such as registry.example.com/visitd:latest
END
}

step() { echo "deploy.sh: $*"; }

fail() {
	echo "deploy.sh: $1" >&2
	[ $# -lt 2 ] || echo "deploy.sh: $2" >&2
	exit 1
}

usage_error() {
	echo "deploy.sh: $1" >&2
	usage >&2
	exit 100
}

# need FAULT ADVICE: what a release cannot do without, and a dry run can.
need() {
	[ -n "$dry_run" ] || fail "$@"
	step "$1: a release would end here ($2)"
}

# run ADVICE COMMAND...: what changes something. The advice is for its failure.
run() {
	advice=$1
	shift
	echo "+ $*"
	[ -z "$dry_run" ] || return 0
	"$@" || fail "failed: $*" "$advice"
}

# Until those that remove themselves have done so: the image is theirs till then.
wait_gone() {
	for id in $containers; do
		patience=60
		while docker inspect "$id" >/dev/null 2>&1; do
			patience=$((patience - 1))
			[ "$patience" -gt 0 ] ||
				fail "container $id stays" "see docker ps -a"
			sleep 1
		done
	done
}

dry_run=
push=yes
platform=
while [ $# -gt 0 ]; do
	case $1 in
	--help | -h)
		usage
		exit 0
		;;
	--dry-run) dry_run=yes ;;
	--no-push) push= ;;
	--platform)
		[ $# -gt 1 ] || usage_error "--platform takes a list"
		platform=$2
		shift
		;;
	--platform=*) platform=${1#*=} ;;
	*) usage_error "unknown: $1" ;;
	esac
	shift
done

cd "$(dirname "$0")"
IMAGE=${IMAGE:-visitd:latest}
case $IMAGE in
-* | *[!A-Za-z0-9._:/@-]*)
	fail "IMAGE=$IMAGE: takes letters, digits and ._:/-, such as you/visitd:latest"
	;;
esac
last=${IMAGE##*/}
case $last in
*@*) fail "IMAGE=$IMAGE: takes a name and a tag, no digest" ;;
*:*) repository=${IMAGE%:*} ;;
*)
	repository=$IMAGE
	IMAGE=$IMAGE:latest
	;;
esac
VERSION=$(cat VERSION)
COMMIT=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
[ -z "$(git status --porcelain 2>/dev/null)" ] || COMMIT=$COMMIT-dirty
export IMAGE VERSION COMMIT
tags="$IMAGE $repository:$VERSION $repository:$VERSION-$COMMIT"

# Whatever would fail later is found before anything is removed.

engine=
if ! command -v docker >/dev/null; then
	need "there is no docker here" "install it: https://docs.docker.com/engine/install/"
elif ! docker info >/dev/null 2>&1; then
	need "the engine does not answer" "start it, or see what docker info says"
else
	engine=yes
fi
compose="docker compose"
if ! docker compose version >/dev/null 2>&1; then
	command -v docker-compose >/dev/null ||
		need "there is neither docker compose nor docker-compose" "install one of them"
	! command -v docker-compose >/dev/null || compose=docker-compose
fi
buildx=
! docker buildx version >/dev/null 2>&1 || buildx=yes
several=
case $platform in
*,*) several=yes ;;
esac
case ${push:+$repository} in
'' | */*) ;;
*)
	fail "IMAGE=$IMAGE names no registry and no user to push to" \
		"set IMAGE=you/$IMAGE, or say --no-push"
	;;
esac
[ -z "$several" ] || [ -n "$buildx" ] ||
	need "several platforms need docker buildx" "install it, or name one platform"
[ -z "$several" ] || [ -n "$push" ] ||
	fail "an image for several platforms can only be pushed" \
		"leave out --no-push, or name one platform"

# Of this image alone: by its name, which has the tag latest where it has none,
# or by what that name stands for now. Those of `docker run --rm` go by
# themselves when they are stopped.
old=
all=
if [ -n "$engine" ]; then
	old=$(docker image inspect -f '{{.Id}}' "$IMAGE" 2>/dev/null) || old=
	all=$(docker ps -aq --no-trunc)
fi
containers=
lasting=
for id in $all; do
	of=$(docker inspect -f \
		'{{.HostConfig.AutoRemove}} {{.Config.Image}} {{.Image}}' \
		"$id" 2>/dev/null) || continue
	removed=${of%% *}
	of=${of#* }
	case ${of%% *} in
	"${IMAGE%:latest}" | "$IMAGE") ;;
	*) [ "${of#* }" = "${old:-none}" ] || continue ;;
	esac
	containers="$containers $id"
	[ "$removed" = true ] || lasting="$lasting $id"
done

step "$IMAGE, version $VERSION, commit $COMMIT"
[ -n "$engine" ] ||
	step "its containers and the old image, which are not known here, would go"
if [ -n "$containers" ]; then
	step "removing its containers (volumes stay)"
	# shellcheck disable=SC2086
	run "see docker ps -a" docker stop $containers
	# shellcheck disable=SC2086
	[ -z "$lasting" ] || run "see docker ps -a" docker rm $lasting
	[ -n "$dry_run" ] || wait_gone
fi
if [ -n "$old" ]; then
	step "deleting the old image"
	for tag in $(docker image inspect -f '{{join .RepoTags " "}}' "$IMAGE"); do
		case $tag in
		"$repository":*)
			run "another container or image uses it: docker ps -a" \
				docker rmi "$tag"
			;;
		esac
	done
fi

step "building${platform:+ for $platform}"
set -- --build-arg "VERSION=$VERSION" --build-arg "COMMIT=$COMMIT"
[ -z "$platform" ] || set -- "$@" --platform "$platform"
for tag in $tags; do
	set -- "$@" --tag "$tag"
done
advice="mend what it says, then run deploy.sh again; the old containers are gone"
if [ -n "$several" ]; then
	# The engine's own builder knows its own platform only.
	docker buildx inspect visitd >/dev/null 2>&1 ||
		run "see docker buildx ls" \
			docker buildx create --name visitd --driver docker-container
	run "$advice; is the registry logged in to (docker login)?" \
		docker buildx build --builder visitd "$@" --push .
elif [ -n "$buildx" ]; then
	run "$advice" docker buildx build "$@" --load .
else
	run "$advice" docker build --force-rm "$@" .
fi
if [ -n "$push" ] && [ -z "$several" ]; then
	step "pushing"
	for tag in $tags; do
		run "log in first (docker login), then run deploy.sh again" \
			docker push "$tag"
	done
fi

step "running"
# shellcheck disable=SC2086
run "see $compose logs app" $compose -f docker-compose.yml up -d --build
if [ -z "$dry_run" ]; then
	patience=60
	until $compose -f docker-compose.yml exec -T app \
		/usr/local/bin/visitd health >/dev/null 2>&1; do
		patience=$((patience - 1))
		[ "$patience" -gt 0 ] ||
			fail "it does not get healthy" "see $compose logs app"
		sleep 1
	done
	step "done: $IMAGE runs, and is healthy"
fi
