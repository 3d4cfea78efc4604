# All commands for this repository; `make` alone lists them.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
WORKERS ?= 2
# Tests wait for servers, leases and clocks, too, so two cores have work for three of them.
TEST_WORKERS ?= 3
# The tests that break things on purpose: all of them, including those that `make test` leaves out.
SOAKED := tests/agreement tests/crash tests/deploy tests/integration tests/walks

QUICK := tests/unit tests/api
# Has an environment of its own, because nothing of the gateway needs it.
PIP_AUDIT := 2.10.1

# Tests start many processes; where Python may not keep what it compiled, each would compile the whole gateway again.
# pytest compiles the tests by itself, and each of its workers would do so again.
export PYTHONDONTWRITEBYTECODE :=
COMPILE := $(BIN)/python -m compileall -q app alembic tests tools

.DEFAULT_GOAL := help
.PHONY: help setup run demo quick test check format lint types arrows docs bench audit soak clean

help: ## list the commands
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 10

setup: $(STAMP) ## install everything into .venv

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	  { echo "Python 3.11 or newer is needed; on Debian and Ubuntu: apt install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
	  { echo "Python's venv is missing; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
	@echo "setup: making $(VENV)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "setup: installing the locked dependencies; the first time this takes a minute"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@
	@echo "setup: done"

run: $(STAMP) ## serve on this machine with settings for development
	@$(BIN)/python -m tools.run

demo: $(STAMP) ## show what the gateway does; ARGS="--once" for one round
	@$(BIN)/imap-gateway demo $(ARGS)

quick: $(STAMP) ## run unit and API tests on SQLite alone, while you write
	@$(COMPILE)
	@$(BIN)/python -m pytest $(QUICK) -m "not (soak or slow or hypothesis)" -k "not postgresql" -n $(WORKERS) $(ARGS)

test: $(STAMP) ## run all tests; real servers that are not installed are unpacked into .servers
	@$(BIN)/python -m tools.clients.install & $(BIN)/python -m tools.servers.unpack && wait $$!
	@$(COMPILE)
	@$(BIN)/python -m pytest -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: format lint types arrows docs test ## what CI runs: format, lint, types, imports, documents, tests

format: $(STAMP)
	@echo "check: format"
	@$(BIN)/ruff format --check --quiet .

lint: $(STAMP)
	@echo "check: lint"
	@$(BIN)/ruff check --quiet .
	@$(BIN)/deptry --no-ansi app >/dev/null 2>&1 || $(BIN)/deptry app

types: $(STAMP)
	@echo "check: types"
	@$(BIN)/mypy

arrows: $(STAMP)
	@echo "check: import arrows"
	@$(BIN)/lint-imports --no-cache

docs: $(STAMP)
	@echo "check: documents"
	@$(BIN)/imap-gateway openapi | diff -q - openapi.md >/dev/null || \
	  { echo "openapi.md is stale; run: $(BIN)/imap-gateway openapi > openapi.md" >&2; exit 1; }

bench: $(STAMP) ## measure the fetch cycle against draining the same mailbox; ARGS=reader: reading mail; ARGS=abuse: callers beside abuse; ARGS=events: events to webhooks, streams and polls
	@$(BIN)/python -m tools.servers.unpack
	@$(BIN)/python -m bench $(ARGS)

audit: $(STAMP) ## look for known weaknesses in the locked dependencies; needs the network, so `make check` does not do it
	@test -x .audit/bin/pip-audit || { $(PYTHON) -m venv .audit && \
	  .audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit==$(PIP_AUDIT); }
	@$(BIN)/python -m tools.audit

soak: $(STAMP) ## run all tests that break things, round after round with other random seeds, until one fails or Ctrl-C
	@$(BIN)/python -m tools.servers.unpack
	@round=1; while :; do echo "soak: round $$round"; \
	  CRASH_SEED=$$round CUT_SEED=$$round $(BIN)/python -m pytest $(SOAKED) -m "" -n $(WORKERS) $(ARGS) || exit; \
	  round=$$((round + 1)); done

clean: ## remove everything that was installed and unpacked here
	rm -rf $(VENV) .servers .audit
