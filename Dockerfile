# Two images from one file: `operator`, which runs the controllers, and `runtime`, which runs in users' pods to train
# and to serve. Dependencies are a layer of their own, so that a change of code rebuilds in seconds; bytecode is compiled
# at build time, because the root filesystem is read-only and a pod's start counts.
#
#   docker build --target operator --tag perennial/operator:dev .
#   docker build --target runtime --tag perennial/runtime:dev .
#   docker build --target runtime --build-arg EXTRAS="lightgbm xgboost" --tag REGISTRY/runtime-boosters:0.1.0 .
ARG BASE_IMAGE=python:3.13-slim

FROM ${BASE_IMAGE} AS base
ENV PATH=/opt/perennial/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/perennial/source \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HOME=/tmp
RUN echo 'perennial:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd \
    && echo 'perennial:x:65532:' >> /etc/group

FROM base AS code
COPY operator/perennial /opt/perennial/source/perennial
# Timestamps do not survive a copy into an image; the compiled files must be trusted without them.
RUN python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash /opt/perennial/source

FROM base AS manifest
# Of pyproject's optional dependencies, what the runtime has besides: "lightgbm xgboost". LightGBM takes its OpenMP from
# the system.
ARG EXTRAS=""
WORKDIR /build
COPY pyproject.toml constraints.txt ./
RUN python3 -c "import os, tomllib; project = tomllib.load(open('pyproject.toml', 'rb'))['project']; \
extras = project['optional-dependencies']; \
open('operator.txt', 'w').write('\\n'.join(project['dependencies'])); \
open('runtime.txt', 'w').write('\\n'.join(r for e in ('server', 'trainer', *os.environ['EXTRAS'].split()) for r in extras[e] if not r.startswith('perennial')))"

FROM base AS operator
# Where the way to the package index is not the default one. Build arguments stay out of the image's environment.
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
ARG PIP_NO_CACHE_DIR=1
COPY --from=manifest /build/operator.txt /build/constraints.txt /opt/perennial/
RUN python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/perennial \
    && /tmp/pip/bin/pip --python /opt/perennial/bin/python install \
        -r /opt/perennial/operator.txt -c /opt/perennial/constraints.txt \
    && rm -rf /tmp/pip
COPY --from=code /opt/perennial/source /opt/perennial/source
# What monitors multiply is small: a thread for each of the node's cores takes processor time, spinning, and saves none.
ENV OPENBLAS_NUM_THREADS=1
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["python", "-m", "perennial.main"]

# The libraries' own tests are a seventh of them, and nothing imports them.
# The pod says what it runs: `python -m perennial.runtime.` trainer, server, joiner or fetch.
FROM base AS runtime
ARG EXTRAS=""
ARG PIP_CERT
ARG PIP_INDEX_URL
ARG PIP_DISABLE_PIP_VERSION_CHECK=1
ARG PIP_NO_CACHE_DIR=1
COPY --from=manifest /build/runtime.txt /build/constraints.txt /opt/perennial/
RUN python3 -m venv /tmp/pip && python3 -m venv --without-pip /opt/perennial \
    && /tmp/pip/bin/pip --python /opt/perennial/bin/python install \
        -r /opt/perennial/runtime.txt -c /opt/perennial/constraints.txt \
    && find /opt/perennial/lib -type d \( -name tests -o -path '*/onnx/backend/test' \) -prune -exec rm -rf {} + \
    && rm -rf /tmp/pip \
    && case "$EXTRAS" in *lightgbm*) apt-get -qq update \
        && apt-get -qq install --yes --no-install-recommends libgomp1 && rm -rf /var/lib/apt/lists/* ;; esac
COPY --from=code /opt/perennial/source /opt/perennial/source
# ONNX Runtime sends its maker what is run, also where a trainer of one's own imports it.
ENV ORT_DISABLE_TELEMETRY=1
USER 65532:65532
WORKDIR /tmp
CMD ["python", "-m", "perennial.runtime.server"]
