# BehaviourLens. `make run` sets everything up and serves; `make test` passes the tests.

PYTHON ?= python3
PORT ?= 8000
VENV := .venv
BIN := $(VENV)/bin
export PORT

.PHONY: help run test check lint types clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

run: $(VENV)/run-ready ## set everything up and serve on 127.0.0.1:PORT (8000)
	@$(BIN)/python manage.py bootstrap
	@exec $(BIN)/daphne -v 0 -b 127.0.0.1 -p $(PORT) behaviourlens.asgi:application

test: $(VENV)/dev-ready ## run the tests
	$(BIN)/python -m pytest

check: lint types test ## lint, types and tests: what has to pass before a change lands

lint: $(VENV)/dev-ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint --lint --quiet dashboard demo_store detection
	$(BIN)/oxlint --deny-warnings dashboard demo_store detection
	$(BIN)/python manage.py makemigrations --check --dry-run
	$(BIN)/python manage.py check --fail-level WARNING

types: $(VENV)/dev-ready
	$(BIN)/mypy .

clean: ## remove the environment (the data under var/ stays)
	rm -rf $(VENV)

$(VENV)/python-ready:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or newer is needed; $(PYTHON) is $$($(PYTHON) --version 2>&1). Try: make $(MAKECMDGOALS) PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run-ready: $(VENV)/python-ready requirements.txt constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/dev-ready: $(VENV)/run-ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@
