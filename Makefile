# sendledger: two commands do everything: `make run` and `make test`.
PYTHON ?= python3.11
DATA_DIR ?= .data
PORT_BASE ?= 8480
# More than there are cores: most of what starts Kafka and workers waits for them.
TEST_WORKERS ?= 3
# A broker of a test lives for seconds: to compile it thoroughly costs more than it gains.
TEST_JAVA_OPTIONS ?= -XX:TieredStopAtLevel=1
BIN := .venv/bin
# Where this variable is set, Python keeps no compiled code: each program that a test starts would compile everything again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help setup lock fmt lint type test test-fast image-check dev run pictures golden docs site bench

help: ## show the verbs
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

.venv/.ready: requirements.lock pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 is needed as $(PYTHON): make setup PYTHON=…" >&2; exit 3; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

setup: .venv/.ready ## create .venv with the locked requirements

# All versions are chosen together, in requirements.lock. The two others hold parts of it: what the image installs, and
# what builds our wheel there.
LOCK := uv pip compile --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command "make lock" --quiet
lock: ## update requirements.lock, and requirements-image.lock and requirements-build.lock from it (needs uv)
	$(LOCK) requirements-dev.in --output-file requirements.lock
	$(LOCK) requirements.in --constraint requirements.lock --output-file requirements-image.lock
	$(LOCK) requirements-build.in --constraint requirements.lock --output-file requirements-build.lock

fmt: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: setup ## check the style, and which package imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

type: setup ## check the types
	$(BIN)/mypy

test: setup ## all tests, on real Kafka and the real ClickHouse engine (TEST_WORKERS= processes, each with its own stack)
	JDK_JAVA_OPTIONS="$(TEST_JAVA_OPTIONS)" $(BIN)/python -m pytest \
		--numprocesses $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

test-fast: setup ## the tests without services, with fewer examples per property, in about a minute
	$(BIN)/python -m pytest --numprocesses $(TEST_WORKERS) --dist worksteal \
		--hypothesis-profile fast -m "not kafka and not clickhouse and not stack and not process"

image-check: setup ## run the build steps of the Dockerfile in an empty folder, and the programs that they make
	$(BIN)/python -m tests.deploy.image_check

run: setup ## everything on this machine, with live simulated traffic; prints what to open (DATA_DIR=, PORT_BASE=)
	$(BIN)/sendledger up --demo --data-dir "$(DATA_DIR)" --port-base "$(PORT_BASE)"

dev: setup ## the same, and the gateway restarts whenever a source file changes
	$(BIN)/sendledger up --demo --reload --data-dir "$(DATA_DIR)" --port-base "$(PORT_BASE)"

pictures: setup ## take the pictures of the README from the demo that `make run` has started (DATA_DIR=)
	$(BIN)/python -m tests.console.pictures "$(DATA_DIR)"

golden: setup ## regenerate the expected events of the golden cases; review the diff like code
	$(BIN)/python -m tests.golden.rewrite

docs: setup ## regenerate the reference pages, alert rules and dashboards from the code
	$(BIN)/python -m tests.docs.generate
	$(BIN)/python -m deploy.prometheus
	$(BIN)/python -m deploy.grafana

site: setup ## build the documentation as a site that needs no network, in build/site
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --nitpicky --quiet -c docs . build/site
	@echo "build/site/index.html"

bench: setup ## the benchmarks, each compared with its peer
	$(BIN)/python -m benchmarks
