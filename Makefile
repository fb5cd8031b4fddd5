# `make` alone lists the targets.
.DEFAULT_GOAL := help
.PHONY: help demo serve worker test check lint format bench lock clean

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
RUN := $(BIN)/python manage.py

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 10

# uv where it is there, else pip; the lock file pins every version.
define install
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed and was not found."; exit 1; }
	@if command -v uv >/dev/null; then \
		test -d .venv || uv venv --quiet --python $(PYTHON) .venv; \
		uv pip install --quiet --python $(BIN)/python -c requirements.lock -e '.$(1)'; \
	else \
		test -d .venv || $(PYTHON) -m venv .venv; \
		$(BIN)/python -m pip install --quiet --disable-pip-version-check -c requirements.lock -e '.$(1)'; \
	fi
endef

.venv/installed: pyproject.toml requirements.lock
	@echo "Installing LabelHub into .venv …"
	$(call install)
	@touch $@

.venv/installed-dev: pyproject.toml requirements.lock
	@echo "Installing LabelHub and what its tests need into .venv …"
	$(call install,[dev])
	@touch $@ .venv/installed

demo: .venv/installed  ## the main job on bundled data, from import to a trained model
	@$(RUN) migrate --verbosity 0
	@$(RUN) demo

serve: .venv/installed  ## admin and API on http://127.0.0.1:8000, with a worker inside
	@$(RUN) serve --migrate --demo

worker: .venv/installed  ## one more worker, on this machine or another
	@$(RUN) worker

TEST := $(BIN)/python -m pytest -n auto --dist worksteal

test: .venv/installed-dev  ## all tests, on SQLite or on DATABASE_URL
	@$(TEST)

lint: .venv/installed-dev  ## format, lint, import rules, types, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(RUN) check
	$(RUN) makemigrations --check --dry-run

check: lint  ## what CI runs: lint, then the tests on SQLite and on PostgreSQL (TEST_DATABASE_URL)
	$(TEST)
	@if [ -n "$$TEST_DATABASE_URL" ]; then \
		echo "Again, on PostgreSQL, what asks a database:"; DATABASE_URL="$$TEST_DATABASE_URL" $(TEST) --with-database; \
	else \
		echo "NOT run on PostgreSQL: TEST_DATABASE_URL is not set (postgres://user@host/name)."; \
	fi

format: .venv/installed-dev  ## put the code in its one form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv/installed-dev  ## the measurements of tests/bench, as a table of ratios
	@$(BIN)/python -m tests.bench

lock:  ## resolve every version anew (needs uv)
	uv pip compile --quiet --universal --python-version 3.11 --extra dev --upgrade \
		--no-annotate --no-header --no-emit-index-url pyproject.toml -o requirements.lock

clean:  ## remove what was installed and what the demo made
	rm -rf .venv var
