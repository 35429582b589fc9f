# visitd in a container:
#
#	docker build -t visitd .                             the file store
#	docker build -t visitd --build-arg STORE=redis .     or postgres
#	docker build -t visitd --target scratch .           nothing but visitd
#
# What is installed is not pinned to versions (DL3018): Alpine keeps none but
# the newest of a release, so that the release is the pin.
ARG ALPINE=3.22

FROM alpine:${ALPINE} AS tools
# hadolint ignore=DL3018
RUN apk add --no-cache make
WORKDIR /src
COPY Makefile VERSION ./
COPY store/deps store/
# The compiler, which is most of it, is the same for every store.
RUN make deps
ARG STORE=file
RUN make deps STORE="$STORE"

# For deploy/dev.yml, which mounts the source.
FROM tools AS dev
# hadolint ignore=DL3018
RUN apk add --no-cache tzdata && mkdir /data && chown 1000:0 /data && \
	chmod 775 /data

FROM tools AS build
ARG STORE=file
COPY . .
# The file store needs no library but libc: it is linked into the program.
RUN if [ "$STORE" = file ]; then static=-static; fi; \
	make -j "$(nproc)" STORE="$STORE" LDFLAGS="-s ${static-}" && \
	mv "build/$STORE/visitd" /usr/local/bin/visitd

FROM alpine:${ALPINE} AS system
ARG STORE=file
# hadolint ignore=DL3018
RUN case $STORE in \
	redis) libraries=hiredis ;; \
	postgres) libraries='hiredis libpq' ;; \
	esac; \
	apk add --no-cache tzdata ${libraries-} && \
	adduser -D -u 1000 myuser && \
	mkdir -p /app /data && \
	chown 1000:0 /app /data && \
	chmod 775 /app /data
# Group 0 may write there: OpenShift gives each project a user of its own, whose
# group is 0.

# Below a folder, so that their modes are copied, too.
FROM system AS folders
RUN mkdir /folders && cp -a /app /data /folders/

# Only the file store runs here: there is no library.
FROM scratch AS scratch
LABEL org.opencontainers.image.title="visitd"
COPY --from=system /etc/passwd /etc/group /etc/
COPY --from=system /usr/share/zoneinfo /usr/share/zoneinfo
COPY --from=folders --chown=1000:0 /folders/ /
COPY --from=build /usr/local/bin/visitd /usr/local/bin/visitd
WORKDIR /app
ENV DATA_DIR=/data
USER myuser
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=5s --retries=3 \
	CMD ["/usr/local/bin/visitd", "health"]
ENTRYPOINT ["/usr/local/bin/visitd"]

FROM system
COPY --from=build /usr/local/bin/visitd /usr/local/bin/visitd
WORKDIR /app
ENV DATA_DIR=/data
USER myuser
VOLUME /data
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=8s --start-period=5s --retries=3 \
	CMD ["/usr/local/bin/visitd", "health"]
ARG STORE=file
ARG VERSION=0.1.0
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="visitd" \
	org.opencontainers.image.description="Counts visits ($STORE store)" \
	org.opencontainers.image.licenses="MIT" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$COMMIT"
ENTRYPOINT ["/usr/local/bin/visitd"]
