# The commands of the house. `make run` and `make test` need python3, git and make; nothing else by hand.
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
DATA ?= var
# where an environment forbids it, each of the thousand short programs of a run compiles all of Mailward anew
export PYTHONDONTWRITEBYTECODE :=
# most tests wait for the programs that they start: three may suit two cores; files in the order of tests/conftest.py
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: run lab test test-all test-postgresql lint format docs bench deb lock clean

run: $(VENV)/.run-ready  ## set up if needed, migrate, start; data in ./var
	@exec $(BIN)/mailward serve --data $(DATA)

lab: $(VENV)/.run-ready  ## attacks on mail between real servers; ARGS as for `mailward lab`
	@exec $(BIN)/mailward lab $(ARGS)

test: $(VENV)/.dev-ready $(VENV)-docs/.ready  ## every test but the long ones
	@scripts/test-needs
	@$(PYTEST) -m "not long" $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-postgresql POSTGRESQL="$(POSTGRESQL_DAILY)" ONLY="not ten_thousand")

test-all: export FUZZ_SECONDS ?= 60
test-all: $(VENV)/.dev-ready $(VENV)-docs/.ready $(VENV)-zoo/.ready  ## every test, the long ones too
	@scripts/test-needs
	@$(PYTEST) $(ARGS)
	@$(if $(ARGS),,$(MAKE) --no-print-directory test-postgresql)

# the store, and what stands on it: once more, on a PostgreSQL server
POSTGRESQL_DAILY := tests/store tests/doctor/test_postgresql.py $(addprefix tests/ingest/test_,killed.py busy.py at_once.py) \
  $(addprefix tests/worker/test_,loop.py nodes.py two_workers.py) $(addprefix tests/hosting/test_,two_nodes.py notices.py snapshot.py)
POSTGRESQL := tests/store tests/doctor/test_postgresql.py tests/ingest tests/worker tests/hosting tests/web tests/monitor tests/notify tests/contract
ONLY :=

test-postgresql: $(VENV)/.dev-ready  ## the tests that need a database, on PostgreSQL; `make test` runs a part of them
	@MAILWARD_TEST_DATABASE=postgresql $(PYTEST) -m "not long" -k "$(ONLY)" $(POSTGRESQL)

lint: $(VENV)/.dev-ready  ## format, style, types, layers, file sizes
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make format'"; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo
	@scripts/file-sizes
	@$(BIN)/python scripts/write-commands-page --check || { echo "docs/commands.md is stale: run .venv/bin/python scripts/write-commands-page"; exit 1; }

format: $(VENV)/.dev-ready
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --fix --quiet .

docs: $(VENV)-docs/.ready  ## the documentation site, in dist/docs; a link or an anchor that leads nowhere fails
	@$(VENV)-docs/bin/sphinx-build --quiet --fail-on-warning --keep-going -c docs/site -d .cache/docs . dist/docs
	@echo "dist/docs/index.html"

bench: $(VENV)/.dev-ready $(VENV)-bench/.ready $(VENV)-bench-sender/.ready $(VENV)-bench-collector/.ready $(VENV)-bench-check/.ready  ## figures against peers; see docs/benchmarks.md
	@bench/run $(ARGS)

$(VENV)/.run-ready: requirements/run.txt pyproject.toml scripts/venv
	@scripts/venv $(VENV) requirements/run.txt
	@touch $@

$(VENV)/.dev-ready: requirements/dev.txt pyproject.toml scripts/venv
	@scripts/venv $(VENV) requirements/dev.txt
	@touch $(VENV)/.run-ready $@

$(VENV)-docs/.ready: requirements/docs.txt scripts/venv
	@scripts/venv $(VENV)-docs requirements/docs.txt --no-project
	@touch $@

$(VENV)-bench/.ready: requirements/bench.txt scripts/venv
	@scripts/venv $(VENV)-bench requirements/bench.txt --no-project
	@touch $@

$(VENV)-bench-sender/.ready: requirements/bench-sender.txt scripts/venv
	@scripts/venv $(VENV)-bench-sender requirements/bench-sender.txt --no-project
	@touch $@

$(VENV)-bench-collector/.ready: requirements/bench-collector.txt scripts/venv
	@scripts/venv $(VENV)-bench-collector requirements/bench-collector.txt --no-project
	@touch $@

$(VENV)-bench-check/.ready: requirements/bench-check.txt scripts/venv
	@scripts/venv $(VENV)-bench-check requirements/bench-check.txt --no-project
	@touch $@

$(VENV)-zoo/.ready: requirements/zoo.txt scripts/venv  ## the zoo makes it where a row needs it
	@scripts/venv $(VENV)-zoo requirements/zoo.txt --no-project
	@touch $@

deb:  ## dist/mailward_*.deb for Debian 12 and 13; SUITE=bookworm for one. Needs root and mmdebstrap
	@scripts/make-deb $(SUITE)

lock:  ## write the hash-locked requirements anew (needs uv)
	@scripts/lock

clean:
	rm -rf $(VENV) $(VENV)-docs $(VENV)-bench $(VENV)-bench-sender $(VENV)-bench-collector $(VENV)-bench-check $(VENV)-zoo .cache
