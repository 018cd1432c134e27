# One image for every role: `docker run IMAGE api`, `docker run IMAGE job`, …
# It has no HEALTHCHECK, for the roles differ: compose.yaml and deploy/kubernetes ask the API alone.

FROM python:3.13-slim AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# Before the code, so that a change of the code alone installs nothing again.
RUN python -m venv --without-pip /opt/batchline
COPY requirements.txt ./
RUN python -m pip --python /opt/batchline/bin/python install \
        --require-hashes --requirement requirements.txt

# The build tools come from the same hashed file and leave again; `pip check` sees to it that
# nothing which stays needed them.
COPY pyproject.toml README.md ./
COPY src src
RUN python -m pip --python /opt/batchline/bin/python install --no-deps --no-build-isolation . \
    && python -m pip --python /opt/batchline/bin/python uninstall --yes \
        hatchling editables pathspec pluggy tomlkit trove-classifiers \
    && python -m pip --python /opt/batchline/bin/python check


FROM python:3.13-slim
COPY --from=build /opt/batchline /opt/batchline
ENV PATH=/opt/batchline/bin:$PATH HOST=0.0.0.0 PYTHONUNBUFFERED=1

# Else onnxruntime makes a device id, and keeps a store of usage events to upload.
ENV ORT_DISABLE_TELEMETRY=1

# Nothing is written here unless no database is configured: then batchline.db is.
WORKDIR /data
RUN chown 10001:10001 /data
USER 10001:10001

EXPOSE 8000
ENTRYPOINT ["batchline"]
CMD ["--help"]
