# Taxiway's commands. `make` alone lists them.

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
# The only step that asks a package index: each file of hashed pins is installed as it is written.
LOCK   := requirements/dev.txt
PACKAGES := libs/common services/auth-gateway services/jobs services/outputs services/executor deploy/local

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help install demo up down status logs reset migrate provision bundles test faults check format openapi bench lock

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

provision: install ## Declare partners, tenants, school years and ODS connections (FILE=partners.yaml)
	@$(BIN)/python -m stack provision $(FILE)

bundles: install ## Import bundles (SOURCE=folder or git URL, REF=branch or tag)
	@$(BIN)/python -m stack bundles $(SOURCE) $(if $(REF),--ref $(REF))

test: install ## Run every test, real servers included
	@$(BIN)/python -m pytest

faults: install ## Kill each part in mid-job with earthmover at work on 50,000 rows (a quarter of an hour)
	@FAULTS_WITH=earthmover $(BIN)/python -m pytest tests/faults --timeout=1200

check: install ## Format, lint, types, import contracts, generated documents and the fast tests
	@$(BIN)/ruff format --check --quiet . && $(BIN)/ruff check --quiet . && echo "format and lint: fine"
	@$(BIN)/mypy --no-error-summary libs services deploy/local tools && \
	  $(BIN)/mypy --no-error-summary tests && $(BIN)/mypy --no-error-summary conftest.py && echo "types: fine"
	@$(BIN)/python tools/quietly.py "import contracts" $(BIN)/lint-imports
	@$(BIN)/python tools/openapi.py --check
	@$(BIN)/python -m pytest -q -m "not servers" --no-header --durations=0 --durations-min=2

format: install ## Format the code and mend what the linter can
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

openapi: install ## Write the OpenAPI documents of the services to docs/api
	@$(BIN)/python tools/openapi.py

lock: install ## Resolve and pin the dependencies anew (asks the package index)
	@$(BIN)/python tools/lock.py
