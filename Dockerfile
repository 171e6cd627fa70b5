# The image of oss-signing-proxy: one binary, the libraries it is linked to, the CA certificates. No shell, no package
# manager, no HOME; it writes nothing, so the root file system can be read-only, and any user id can run it.
#
#   docker build -t oss-signing-proxy .
#   docker run --rm oss-signing-proxy demo --exit
#
# It listens on loopback only (data 8770, admin 8771), because the requests of whoever reaches it are signed. So it is
# run as a sidecar that shares the network of the one application it signs for:
#
#   Kubernetes   a container in the pod (an init container with `restartPolicy: Always` starts first and ends last),
#                `args: ["serve", "--region", "cn-hangzhou"]`, the keys from a Secret as OSS_ACCESS_KEY_ID and
#                OSS_ACCESS_KEY_SECRET; the application talks to http://127.0.0.1:8770.
#                securityContext: runAsNonRoot, readOnlyRootFilesystem, allowPrivilegeEscalation: false, drop ALL.
#   Docker       docker run --read-only --cap-drop ALL --network container:APP -e OSS_ACCESS_KEY_ID \
#                    -e OSS_ACCESS_KEY_SECRET oss-signing-proxy serve --region cn-hangzhou
#
# Publishing the ports (-p) reaches nothing while it listens on loopback; "Listening beyond loopback" in docs/configuration.md
# says what else that takes.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src

# The crate is built twice, and between the first is asked what applications ask, so that the second is laid out by what runs
# often. `--build-arg PROFILED=no` builds once, and fetches less.
ARG PROFILED=yes

# What the load and its evaluation need.
RUN [ "$PROFILED" = no ] \
 || { apt-get update \
   && apt-get install -y --no-install-recommends openssl python3 \
   && rm -rf /var/lib/apt/lists/* \
   && rustup component add llvm-tools; }

# The crate. (A [[bench]] or [[test]] in Cargo.toml has to give its `path`, or cargo looks for its file here, where it is
# not.) Then everything that the image holds is laid out in /image, with the libraries that the loader names. That is
# enough to look up host names, too: glibc has no libraries of its own for files and DNS any more.
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

# An empty base and not a prepared minimal one: there is nothing in it to update but what the build stage brings.
FROM scratch
COPY --from=build /image /
# A number, so that `runAsNonRoot` can be checked without a user list, of which the image has none.
USER 65532:65532
EXPOSE 8770 8771
ENTRYPOINT ["/usr/local/bin/oss-signing-proxy"]
CMD ["serve"]
