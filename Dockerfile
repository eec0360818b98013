# One image for every stage: docker build -t tracker . ; docker run tracker collect
# `--target local` adds the embedded ClickHouse of the local Tinybird, for `tracker dev` and compose.yml.
# BASE is any Debian-like image with python3 and its venv module; scripts/build-image makes one where no registry is reached.
ARG BASE=python:3.13-slim

# hadolint ignore=DL3006
FROM ${BASE} AS build
WORKDIR /src
RUN python3 -m venv /opt/tracker
# The dependencies change less often than the code: a layer of their own.
COPY requirements-runtime.lock ./
RUN /opt/tracker/bin/pip install --no-cache-dir --disable-pip-version-check --require-hashes --no-deps \
    -r requirements-runtime.lock
COPY . .
RUN /opt/tracker/bin/pip install --no-cache-dir --disable-pip-version-check --no-deps . \
    && /opt/tracker/bin/pip uninstall --yes --quiet pip

FROM build AS build-local
COPY requirements-local.lock ./
RUN python3 -m venv /tmp/pip \
    && /tmp/pip/bin/pip --python /opt/tracker/bin/python install --no-cache-dir --disable-pip-version-check \
    --require-hashes --no-deps -r requirements-local.lock

# hadolint ignore=DL3006
FROM ${BASE} AS base
# Nothing needs a right of root, and nothing is written outside /data and /tmp: run it with a read-only root file system.
RUN mkdir /data && chown 10001:10001 /data
ENV PATH=/opt/tracker/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    TRACKER_DATA_DIR=/data \
    TRACKER_LOG_JSON=true
WORKDIR /data
USER 10001:10001
VOLUME /data
# Collector, its metrics, processor, sink.
EXPOSE 8000 6065 6066 6068
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["tracker", "health"]
ENTRYPOINT ["tracker"]
CMD ["--help"]

FROM base AS local
COPY --from=build-local /opt/tracker /opt/tracker

FROM base AS runtime
COPY --from=build /opt/tracker /opt/tracker
