# potluck in a container.
#
#   docker build -t potluck .
#   docker run --rm potluck demo                           # no key, no network, no account
#   docker run -d --name potluck --network host --env-file potluck.env -v potluck:/data potluck
#
# Host networking, because both listeners are on loopback by default. With POTLUCK_LISTEN=0.0.0.0:8767 others can reach
# the proxy listener: they need client keys then (`potluck clients add`). Secrets (OPENROUTER_KEYS, POTLUCK_ADMIN_TOKEN, POTLUCK_MASTER_KEY) come from the
# environment, never from the image.

FROM rust:1.95-slim-bookworm AS build
RUN apt-get update && apt-get install -y --no-install-recommends cmake g++ make perl && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Cargo.toml Cargo.lock README.md ./
COPY .cargo .cargo
COPY src src
COPY benches benches
COPY examples examples
RUN cargo build --release --locked --bin potluck

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --no-create-home --shell /usr/sbin/nologin potluck \
    && install -d -o potluck -g potluck -m 700 /data
COPY --from=build /src/target/release/potluck /usr/local/bin/potluck
USER potluck
WORKDIR /data
VOLUME /data
ENV POTLUCK_DATA_DIR=/data
# SIGTERM drains: give it longer than proxy.drain_timeout_ms (docker stop --time 45).
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=5s CMD ["potluck", "status"]
ENTRYPOINT ["potluck"]
CMD ["run"]
