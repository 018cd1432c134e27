.DEFAULT_GOAL := help
SHELL := /bin/sh

# Set PYTHON to use another interpreter (3.11 or newer) than the machine's python3.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
CODE := src tests benchmarks devservers scripts

help:  ## Show what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: .venv/installed  ## Make .venv with Batchline and what it needs, from pinned hashes

demo: install  ## Predict 150 iris flowers through a temporary service
	$(BIN)/batchline demo

run: install  ## Run API and batch job on SQLite; Ctrl-C stops both
	$(BIN)/batchline up

test: .venv/installed-dev  ## Run all tests on all four databases; a part: make test ARGS="tests/pure", one database: DATABASES=sqlite
	$(BIN)/python -m devservers fetch
	$(BIN)/python -m tests $(ARGS)

torture: .venv/installed-dev  ## Run the long tests and the fault tests in their long form; writes docs/explanation/reliability.json
	$(BIN)/python -m devservers fetch
	$(BIN)/python -m pytest --long --timeout 7200

lint: .venv/installed-dev  ## Check format, types and the direction of imports
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: .venv/installed-dev  ## Compare with plain loops, a plain script and a plain API, side by side on each database
	$(BIN)/python -m devservers fetch
	$(BIN)/python -m benchmarks.claims
	$(BIN)/python -m benchmarks.job --items 100000
	$(BIN)/python -m benchmarks.bulk
	$(BIN)/python -m benchmarks.columns
	$(BIN)/python -m benchmarks.backlog
	$(BIN)/python -m benchmarks.slow_model
	$(BIN)/python -m benchmarks.lanes
	$(BIN)/python -m benchmarks.api
	$(BIN)/python -m benchmarks.keys
	$(BIN)/python -m benchmarks.metrics
	$(BIN)/python -m venv .cache/frames
	.cache/frames/bin/python -m pip install --quiet --disable-pip-version-check pandas polars pyarrow onnxruntime
	$(BIN)/python -m benchmarks.files --frames .cache/frames/bin/python
	$(BIN)/python -m benchmarks.ray
	$(BIN)/python -m benchmarks.attacks
	$(BIN)/python -m benchmarks.picture

docs: .venv/installed-dev  ## Renew the pages that are generated from the code
	$(BIN)/python -m scripts.reference_pages
	$(BIN)/python -m scripts.model_kinds
	$(BIN)/python -m tests.faults.report
	$(BIN)/python -m scripts.examples --write

format: .venv/installed-dev  ## Format the code
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

pins:  ## Renew the requirements*.txt (needs uv)
	$(PIN) --extra files pyproject.toml --output-file requirements.txt
	$(PIN) --extra files --extra dev --constraints requirements.txt pyproject.toml --output-file requirements-dev.txt
	echo "pandas>=2.2" | $(PIN) --constraints requirements-dev.txt --no-emit-package numpy - --output-file requirements-pandas.txt

clean:  ## Remove .venv, fetched servers and caches
	rm -rf .venv .servers .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist

PIN := uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
	--no-annotate --python-version 3.11 --group build --custom-compile-command "make pins"

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed: .venv/bin/python requirements.txt pyproject.toml
	$(PIP) --require-hashes --requirement requirements.txt
	$(PIP) --no-build-isolation --no-deps --editable .
	touch $@

# pandas is in a folder of its own, since pyarrow imports it in every process that finds it.
.venv/installed-dev: .venv/installed requirements-dev.txt requirements-pandas.txt
	$(PIP) --require-hashes --requirement requirements-dev.txt
	$(PIP) --require-hashes --no-deps --upgrade --target .venv/pandas --requirement requirements-pandas.txt
	touch $@

.PHONY: help install demo run test torture lint bench docs format pins clean
