# The image of oss-signing-proxy: one binary, the libraries it is linked to, the CA certificates. It has no shell, no package
# manager and no HOME. It writes no files, so the root file system can be read-only, and any user id can run it.
#
#   docker build -t oss-signing-proxy .
#   docker run --rm oss-signing-proxy demo --exit
#
# It listens on loopback only (data 8770, admin 8771), because it signs the requests of any client that can connect. Run it
# as a sidecar that shares the network of one application:
#
#   Kubernetes   a container in the pod (an init container with `restartPolicy: Always` starts first and ends last),
#                `args: ["serve", "--region", "cn-hangzhou"]`, the keys from a Secret as OSS_ACCESS_KEY_ID and
#                OSS_ACCESS_KEY_SECRET; the application connects to http://127.0.0.1:8770.
#                securityContext: runAsNonRoot, readOnlyRootFilesystem, allowPrivilegeEscalation: false, drop ALL.
#   Docker       docker run --read-only --cap-drop ALL --network container:APP -e OSS_ACCESS_KEY_ID \
#                    -e OSS_ACCESS_KEY_SECRET oss-signing-proxy serve --region cn-hangzhou
#
# Publishing the ports (-p) has no effect while it listens on loopback; see "Listening on a non-loopback address" in
# docs/configuration.md.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The crate is built twice. In between the first build handles a load that resembles applications, and its profile optimizes
# the second. `--build-arg PROFILED=no` builds once, and downloads less.
ARG PROFILED=yes

# The packages for the load and its evaluation.
RUN [ "$PROFILED" = no ] \
 || { apt-get update \
   && apt-get install -y --no-install-recommends openssl python3 \
   && rm -rf /var/lib/apt/lists/* \
   && rustup component add llvm-tools; }

# The crate. (A [[bench]] or [[test]] in Cargo.toml needs a `path`, or cargo requires its file, which is not copied.) Then all
# files of the image are collected in /image, with the libraries that the loader lists. They suffice to resolve host names:
# glibc no longer has separate libraries for files and DNS.
COPY Cargo.toml Cargo.lock LICENSE ./
COPY deploy/build deploy/train deploy/
COPY deploy/test/stage.py deploy/test/
COPY src src
RUN if [ "$PROFILED" = no ]; then \
        cargo build --release --locked && install -D -t target/shipped target/release/oss-signing-proxy; \
    else \
        deploy/build; \
    fi \
 && install -D -t /image/usr/local/bin target/shipped/oss-signing-proxy \
 && install -D -m 644 -t /image/usr/share/doc/oss-signing-proxy LICENSE \
 && ldd target/shipped/oss-signing-proxy > libraries \
 && grep -o '/[^ ]*' libraries | xargs cp --dereference --parents -t /image \
 && cp --dereference --parents -t /image /etc/ssl/certs/ca-certificates.crt

# An empty base instead of a minimal distribution: only the files of the build stage ever need updates.
FROM scratch
COPY --from=build /image /
# A number, because `runAsNonRoot` cannot check a name without a user list, and the image has none.
USER 65532:65532
EXPOSE 8770 8771
ENTRYPOINT ["/usr/local/bin/oss-signing-proxy"]
CMD ["serve"]
