# Everything a developer runs. `make help` lists it. ARGS="…" is handed on to demo, test, soak and bench.
#
# From elsewhere: make -C path/to/nps-streams demo

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
VENV := .venv
STAMP := $(VENV)/.installed
PY := $(VENV)/bin/python
ARGS ?=

# The first of these that is new enough and can make virtual environments. Or name one: make PYTHON=/opt/python/bin/python3 …
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' 2> /dev/null && echo $$python && break; done)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

.PHONY: venv
venv: $(STAMP) ## Make the virtual environment .venv with every pinned dependency

$(STAMP): requirements-dev.txt | python
	@echo "Installing $$(grep -c '^[a-zA-Z]' requirements-dev.txt) pinned packages into $(VENV) (a minute at most, once) ..." >&2
	@$(PYTHON) -m venv $(VENV)
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes --requirement requirements-dev.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: python
python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with venv is needed and none was found: install it (Debian: apt install python3 python3-venv) or name it: make PYTHON=/path/to/python3" >&2; exit 1; }

# Needs no virtual environment: a missing Java is told before anything is installed.
.PHONY: jars
jars: python
	@$(PYTHON) -m streams.broker_jars

.PHONY: demo
demo: jars $(STAMP) ## Kafka, a worker, an hour of simulated survey life sped up, and a live table of it
	@$(PY) -m streams.cli demo $(ARGS)

.PHONY: test
test: $(STAMP) ## Every test, on a real Kafka; without Java those that need none (ARGS="-m 'not slow'" for the quick ones)
	@$(PYTHON) -m streams.broker_jars || test "$$CI" != true
	@$(PY) -m pytest $(ARGS)

.PHONY: coverage
coverage: $(STAMP) ## Branch coverage of schemas and rules by their own tests; less than 98 % fails
	@$(PY) -m pytest -q tests/contracts tests/rules tests/security/test_docs.py -m "not kafka" \
		--cov=schemas --cov=streams/rules --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=98

.PHONY: check
check: $(STAMP) ## Lint, format, types, layers, exported schemas, Dockerfile, compose file
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m schemas.export --check
	$(VENV)/bin/hadolint deploy/docker/Dockerfile
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

.PHONY: soak
soak: jars $(STAMP) ## 1,000,000 responses while a worker is killed again and again, compared with the oracle
	@$(PY) -m tests.faults.campaign $(ARGS)

SEED ?=
MINUTES ?= 10

.PHONY: faults
faults: jars $(STAMP) ## Everything that can befall workers, at random, under load, compared all along (SEED=, MINUTES=)
	@$(PY) -m tests.faults.faults_run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: load
load: jars $(STAMP) ## A rolling restart, a flood, 2,000,000 customers on one worker: figures (ARGS="rolling flood large")
	@$(PY) -m tests.load $(ARGS)

.PHONY: bench
bench: jars $(STAMP) ## CPU per response of one worker on the whole path
	@$(PY) -m tests.bench.cpu $(ARGS)

COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.PHONY: lock
lock: $(STAMP) ## Write requirements*.txt anew from pyproject.toml (ARGS=--upgrade takes the newest versions)
	$(COMPILE) $(ARGS) pyproject.toml --output-file requirements.txt
	$(COMPILE) $(ARGS) pyproject.toml --extra dev --constraints requirements.txt --output-file requirements-dev.txt
	$(COMPILE) --group build --constraints requirements-dev.txt --output-file requirements-build.txt

.PHONY: sbom
sbom: $(STAMP) ## Write what an installation consists of to dist/sbom.cdx.json (CycloneDX)
	@mkdir -p dist
	@$(PY) -W ignore $(VENV)/bin/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --output-file dist/sbom.cdx.json

# Needs a network, and an index that tells vulnerabilities (PyPI does, most mirrors do not): a package that could not be
# looked up is a failure.
.PHONY: audit
audit: $(STAMP) ## Look every pinned dependency up in the database of known vulnerabilities
	@$(VENV)/bin/uv tool run --from 'pip-audit==2.10.1' pip-audit --strict --disable-pip --require-hashes --requirement requirements.txt

.PHONY: clean
clean: ## Remove the virtual environment and caches; a broker's data (.nps) and the jars of Kafka stay
	rm -rf $(VENV) dist .cache .coverage .hypothesis .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
