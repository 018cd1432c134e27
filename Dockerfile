# One image for every role: `docker run IMAGE api`, `docker run IMAGE job`, …
# It has no HEALTHCHECK, because only the API has health endpoints. compose.yaml and
# deploy/kubernetes define the checks.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Install the requirements before the code, so that a change of the code reuses this layer.
RUN python -m venv --without-pip /opt/batchline
COPY requirements.txt ./
RUN python -m pip --python /opt/batchline/bin/python install \
        --require-hashes --requirement requirements.txt

# The build tools come from the same hashed file and are uninstalled afterwards. `pip check` verifies
# that no remaining package needs them.
COPY pyproject.toml README.md ./
COPY src src
RUN python -m pip --python /opt/batchline/bin/python install --no-deps --no-build-isolation . \
    && python -m pip --python /opt/batchline/bin/python uninstall --yes \
        hatchling editables pathspec pluggy tomlkit trove-classifiers \
    && python -m pip --python /opt/batchline/bin/python check


FROM python:3.13-slim
COPY --from=build /opt/batchline /opt/batchline
ENV PATH=/opt/batchline/bin:$PATH HOST=0.0.0.0 PYTHONUNBUFFERED=1

# Without this, onnxruntime creates a device id and stores usage events to upload.
ENV ORT_DISABLE_TELEMETRY=1

# If no database is configured, Batchline writes batchline.db here. Otherwise it writes nothing.
WORKDIR /data
RUN chown 10001:10001 /data
USER 10001:10001

EXPOSE 8000
ENTRYPOINT ["batchline"]
CMD ["--help"]
