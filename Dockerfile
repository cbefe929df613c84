# syntax=docker/dockerfile:1
#
# One image for every role, the command line, and the simulated GitHub.
#
# Decisions:
# - Two stages. The compiler, its sources and its caches stay in the first one; the second holds two
#   programs, the root certificates, and what Debian needs to run them.
# - Both stages are Debian 12 (bookworm), so that the C library the programs were linked against is the
#   one they find. TLS is rustls with ring, compiled in: no OpenSSL is needed.
# - bookworm-slim rather than a distroless image, for one reason: `afu9` has no subcommand yet that
#   fails when its gateway does not answer, and Debian's bash can open a TCP connection by itself. That
#   is the gateway's health check, without curl. The other roles' check, `afu9 doctor`, needs no shell.
# - The programs write nothing to disk. They run as a user without a name, a home or a shell, and
#   with a read-only root file system (compose.yaml).
# - `--locked`: the build is that of Cargo.lock or none.

FROM rust:1.95-slim-bookworm AS build
WORKDIR /src
# rust-toolchain.toml is left out by .dockerignore: the image is the toolchain, and rustup would
# otherwise download rustfmt and clippy, which no build needs.
COPY . .
# The caches outlive the layer but are no part of it, hence the copy at the end.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    cargo build --release --locked --package afu9 --package afu9-loadtest \
    && mkdir /out \
    && cp target/release/afu9 target/release/afu9-loadtest /out/

FROM debian:bookworm-slim
# Root certificates for api.github.com and for NATS over TLS.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /out/afu9 /out/afu9-loadtest /usr/local/bin/
# By number, so that an orchestrator can check that it is not root.
USER 10001:10001
# Nobody expects a core dump or a history file; this is only where a relative path would begin.
WORKDIR /tmp
# SIGTERM is what a role drains on; that is Docker's default, written down because we rely on it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/afu9"]
CMD ["--help"]
