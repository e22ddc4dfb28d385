# The image of all programs of an installation: `docker build --tag sendledger .`, then `docker run sendledger worker gate`.
# docs/how-to/deploy-with-compose.md and docs/how-to/deploy-on-kubernetes.md use it.
#
# A tag moves with each patch of Python or Debian. To build from exactly the same base again, pin its digest, which
# `docker buildx imagetools inspect python:3.11-slim-bookworm` prints:
#   docker build --build-arg BASE=python:3.11-slim-bookworm@sha256:… .
ARG BASE=python:3.11-slim-bookworm

# ---- build: every package comes from a lock file with hashes, and as a wheel, so nothing foreign runs here
FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_NO_INPUT=1
WORKDIR /build

COPY requirements-build.lock ./
RUN python -m venv /opt/build \
 && /opt/build/bin/pip install --require-hashes --only-binary=:all: --requirement requirements-build.lock

# Changes seldom, so it is a layer before our code.
COPY requirements-image.lock ./
RUN python -m venv /opt/sendledger \
 && /opt/sendledger/bin/pip install --require-hashes --only-binary=:all: --requirement requirements-image.lock

COPY pyproject.toml README.md LICENS[E] requirements.in requirements-local.in ./
COPY schemas/ schemas/
COPY projections/ projections/
COPY processors/ processors/
COPY application/ application/
COPY gateway/ gateway/
COPY verification/ verification/
COPY simulator/ simulator/
COPY deploy/ deploy/
COPY cli/ cli/
# --no-deps: the packages of the local stack (requirements-local.in) stay out. pip and setuptools go: the programs need
# neither. Compiled at once, since the file system is read-only later.
RUN /opt/build/bin/pip wheel --no-deps --no-index --no-build-isolation --wheel-dir /wheels . \
 && /opt/sendledger/bin/pip install --no-deps --no-index --find-links /wheels sendledger \
 && /opt/sendledger/bin/pip uninstall --yes setuptools pip \
 && /opt/sendledger/bin/python -m compileall -q /opt/sendledger/lib

# ---- the image
FROM ${BASE}
ARG BASE
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG SOURCE=unknown
# Scanners make the list of packages (SBOM) from the metadata of each installed package; these labels say whose it is.
LABEL org.opencontainers.image.title="sendledger" \
      org.opencontainers.image.description="Records what became of every email and SMS that a booking service requested." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="${BASE}"

# A number, so that Kubernetes can see that it is not root. The only folder that a program writes to is its worker folder:
# give it a volume, or memory, and let the rest be read-only.
RUN groupadd --gid 10001 sendledger \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin sendledger \
 && install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/sendledger
COPY --from=build /opt/sendledger /opt/sendledger
ENV PATH=/opt/sendledger/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SENDLEDGER_WORKER_DIR=/var/lib/sendledger
WORKDIR /
USER 10001:10001
EXPOSE 8480 9100

# Of the gateway. Workers serve their metrics instead, and commands end by themselves: deploy/compose/compose.yaml says so.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
  CMD ["python", "-P", "-m", "deploy.image.healthcheck", "http://127.0.0.1:8480/healthz"]
ENTRYPOINT ["sendledger"]
CMD ["gateway"]
