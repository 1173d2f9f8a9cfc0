# Taxiway's commands. `make` alone lists them.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
# The only step that asks a package index: each file of hashed pins is installed as it is written.
LOCK   := requirements/dev.txt
PACKAGES := libs/common libs/client libs/executor-sdk services/auth-gateway services/jobs services/outputs services/executor deploy/local

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo up down status logs reset migrate provision bundles bundles-table roster mapping test faults drill line watchers browser bench soak check format openapi env-example lock

help: ## Show what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Make .venv with everything pinned (other commands do it by themselves)

$(VENV)/.installed: $(LOCK) $(PACKAGES:%=%/pyproject.toml)
	@$(PYTHON) tools/install.py --venv $(VENV) --lock $(LOCK) $(PACKAGES)
	@touch $@

demo: install ## Walk the main job end to end on the local stack: token, create, upload, start, outputs
	@$(BIN)/python tools/demo.py

up: install ## Start the whole stack, migrated and provisioned, and say where everything is
	@$(BIN)/python -m stack up

down: install ## Stop the stack; its data stays
	@$(BIN)/python -m stack down

status: install ## Show the stack's processes
	@$(BIN)/python -m stack status

logs: install ## Follow the logs (NAME=jobs for one process)
	@$(BIN)/python -m stack logs $(NAME)

reset: install ## Stop the stack and delete its data
	@$(BIN)/python -m stack reset

migrate: install ## Bring every service's schema to this release
	@$(BIN)/python -m stack migrate

provision: install ## Declare partners, tenants, years, ODS (FILE=partners.yaml, DRY_RUN=1, PRUNE=1 or PRUNE=partners)
	@$(BIN)/python -m stack provision $(FILE) $(if $(filter-out 0,$(DRY_RUN)),--dry-run) \
	  $(if $(filter-out 0,$(PRUNE)),--prune) $(if $(filter partners,$(PRUNE)),--prune-partners)

bundles: install ## Import bundles (SOURCE=folder or git URL, REF=branch or tag)
	@$(BIN)/python -m stack bundles $(SOURCE) $(if $(REF),--ref $(REF))

bundles-table: install ## Try every bundle of a folder on its sample, write docs/bundles.md (SOURCE=, KEEP=1 goes on)
	@$(BIN)/python tools/bundles_table.py $(if $(KEEP),--keep) $(SOURCE)

roster: install ## Put a roster (FILE=roster.jsonl PARTNER= TENANT= YEAR=)
	@$(BIN)/python -m stack roster $(FILE) --partner "$(PARTNER)" --tenant "$(TENANT)" --year "$(YEAR)"

mapping: install ## Put a descriptor mapping (FILE=gradeLevelDescriptors.csv PARTNER= TENANT= BUNDLE=)
	@$(BIN)/python -m stack mapping $(FILE) --partner "$(PARTNER)" --tenant "$(TENANT)" --bundle "$(BUNDLE)" \
	  $(if $(NAME),--name "$(NAME)")

test: install ## Run every test, real servers included
	@$(BIN)/python -m pytest

faults: install ## Kill each part in mid-job with earthmover at work on 50,000 rows (a quarter of an hour)
	@FAULTS_WITH=earthmover $(BIN)/python -m pytest tests/faults --timeout=1200

drill: install ## Kill and freeze everything while runs of every kind go on, then count (SECONDS=120 RUNS=200 SEED=)
	@PYTHONPATH=tools $(BIN)/python -m drill --seconds $(or $(SECONDS),120) --runs $(or $(RUNS),200) $(if $(SEED),--seed $(SEED))

line: install ## Put thousands of runs in line for two executors and show how they get their turns (RUNS=10000)
	@LINE_RUNS=$(or $(RUNS),10000) $(BIN)/python -m pytest -q -s --no-header services/jobs/tests/engine/test_deep_line.py --timeout=1200

watchers: install ## Open thousands of live streams at one jobs-watch and show memory and fan-out (WATCHERS=10000)
	@WATCHERS=$(or $(WATCHERS),10000) $(BIN)/python -m pytest -q -s --no-header services/jobs/tests/watch/test_thousands.py

browser: install ## Run the tests that need a browser (Debian's chromium and chromium-driver)
	@command -v chromium >/dev/null && command -v chromedriver >/dev/null || \
	  { echo "chromium and chromedriver are needed: apt-get install chromium chromium-driver"; exit 1; }
	@$(BIN)/python -m pytest tests/browser

bench: install ## Measure against named peers, write docs/benchmarks.md (ROW=P1 for one row, SOURCE= bundles for P6, SOAK=1)
	@PYTHONPATH=tools $(BIN)/python -m bench $(if $(ROW),--row $(ROW)) $(if $(SOAK),--row SOAK) \
	  $(if $(SOURCE),--source $(SOURCE)) $(if $(PAIRS),--pairs $(PAIRS)) $(if $(SECONDS),--seconds $(SECONDS))

soak: install ## Keep a stack at work for a while and see what grows (MINUTES=10)
	@PYTHONPATH=tools $(BIN)/python -m bench --row SOAK $(if $(MINUTES),--minutes $(MINUTES))

check: install ## Format, lint, types, import contracts, generated documents and the fast tests
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && echo "format and lint: fine"
	@$(BIN)/mypy --no-error-summary libs services deploy/local tools && \
	  $(BIN)/mypy --no-error-summary tests && $(BIN)/mypy --no-error-summary conftest.py && echo "types: fine"
	@$(BIN)/python tools/quietly.py "import contracts" $(BIN)/lint-imports
	@$(BIN)/python tools/openapi.py --check
	@$(BIN)/python tools/env_example.py --check
	@$(BIN)/python -m pytest -q -m "not servers and not slow" --no-header --durations=0 --durations-min=2

format: install ## Format the code and mend what the linter can
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

openapi: install ## Write the OpenAPI documents of the services to docs/api
	@$(BIN)/python tools/openapi.py

env-example: install ## Write .env.example from the settings of every process
	@$(BIN)/python tools/env_example.py

lock: install ## Resolve and pin the dependencies anew (asks the package index)
	@$(BIN)/python tools/lock.py
