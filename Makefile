# Everything a developer runs. `make help` lists it. ARGS="…" is handed on to demo, test, faults, load and bench.
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
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

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

# The two programs only, into ~/.cache/nps-streams; nothing where both are on the PATH.
.PHONY: prometheus
prometheus: python ## The real Prometheus that tests run, from Debian's package, unless it is installed
	@$(PYTHON) -m tests.support.prometheus_binaries

.PHONY: demo
demo: jars $(STAMP) ## Kafka, a worker, an hour of simulated survey life sped up, and a live table of it
	@$(PY) -m streams.cli demo $(ARGS)

# Most tests wait for a broker or a clock. Each process has a broker of its own; with four, those that measure time suffer.
JOBS ?= 3

.PHONY: test
test: $(STAMP) ## Every test, on a real Kafka; without Java those that need none (ARGS="-m 'not slow'" for the quick ones)
	@$(PYTHON) -m streams.broker_jars || test "$$CI" != true
	@$(PYTHON) -m tests.support.prometheus_binaries || test "$$CI" != true
	@$(PY) -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: coverage
coverage: $(STAMP) ## Branch coverage of schemas and rules by their own tests; less than 98 % fails
	@$(PY) -m pytest -q tests/contracts tests/rules tests/security/test_docs.py -m "not kafka" \
		--cov=schemas --cov=streams/rules --cov-branch --cov-report=term-missing:skip-covered --cov-fail-under=98

.PHONY: check
check: $(STAMP) ## Lint, format, types, layers, exported schemas, dashboards, Dockerfile, compose file
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports
	$(PY) -m schemas.export --check
	$(PY) -m deploy.grafana --check
	$(VENV)/bin/hadolint deploy/docker/Dockerfile
	$(VENV)/bin/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml

.PHONY: dashboards dashboard-preview
dashboards: $(STAMP) ## Write deploy/grafana/dashboards/*.json from the code beside them
	@$(PY) -m deploy.grafana

# Kafka, workers, simulated life and Prometheus for some minutes.
dashboard-preview: jars prometheus $(STAMP) ## Draw docs/images/programme.png from a real Prometheus' answers to the panels
	@$(PY) -m tests.operations.dashboard_preview $(ARGS)

SEED ?=
MINUTES ?= 10

.PHONY: faults
faults: jars $(STAMP) ## Everything that can befall workers, at random, under load, compared all along (SEED=, MINUTES=)
	@$(PY) -m tests.faults.faults_run --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: load
load: jars $(STAMP) ## A rolling restart, a flood, 2,000,000 customers on one worker: figures (ARGS="rolling flood large")
	@$(PY) -m tests.load $(ARGS)

.PHONY: bench
bench: jars $(STAMP) ## CPU per response of one worker on the whole path, and the floors under it
	@$(PY) -m tests.bench.cpu $(ARGS)

.PHONY: bench-latency bench-scale bench-restore bench-stages bench-plots bench-skew bench-webhooks
bench-latency: jars $(STAMP) ## From a response to its event at a subscriber, at several rates
	@$(PY) -m tests.bench.latency $(ARGS)

bench-scale: jars $(STAMP) ## How the cost grows with customers, segments, partitions and workers
	@$(PY) -m tests.bench.scale $(ARGS)

bench-restore: jars $(STAMP) ## How fast a worker rebuilds its state from an empty disk
	@$(PY) -m tests.bench.restore $(ARGS)

bench-webhooks: jars $(STAMP) ## How many webhooks one process delivers to a local receiver
	@$(PY) -m tests.bench.webhooks $(ARGS)

bench-plots: $(STAMP) ## Draw docs/performance/*.svg from the JSON beside them (each bench takes ARGS="--json FILE")
	@$(PY) -m tests.bench.plots

bench-skew: $(STAMP) ## How unevenly customers load 12 to 1,024 partitions, by simulation
	@$(PY) -m tests.bench.skew $(ARGS)

bench-stages: $(STAMP) ## What a response costs by stage, without a broker
	@$(PY) -m tests.bench.stages $(ARGS)

# Needs a network the first time: the peers are installed and compiled into .cache.
.PHONY: bench-peers
bench-peers: jars $(STAMP) ## Kafka Streams, Quix Streams and stock Faust beside this processor, on the same responses
	@$(PY) -m tests.bench.peers.run $(ARGS)

COMPILE := $(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	--no-emit-index-url --no-emit-find-links

.PHONY: lock
lock: $(STAMP) ## Write requirements*.txt anew from pyproject.toml (ARGS=--upgrade takes the newest versions)
	$(COMPILE) $(ARGS) pyproject.toml --output-file requirements.txt
	$(COMPILE) $(ARGS) pyproject.toml --extra dev --constraints requirements.txt --output-file requirements-dev.txt
	$(COMPILE) tests/bench/peers/requirements-quix.in --output-file tests/bench/peers/requirements-quix.txt
	$(COMPILE) --group build --constraints requirements-dev.txt --output-file requirements-build.txt

.PHONY: dist
dist: $(STAMP) ## Build the wheel and the sdist into dist
	@$(PY) -m hatchling build

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
