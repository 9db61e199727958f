# Everything a person or a machine does with this repository. `make` alone lists it.
#
# Belongs here: one line per task, calling the tool that does it. Does not belong here: logic.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
TEST_WORKERS ?= 2

.PHONY: help setup demo up servers down status test servers-test bench lint fmt docs clean

help: ## List the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv from requirements.lock (instant when it is up to date)
	@deploy/setup

demo: setup ## Two simulated days, a live stream, sealed and checked. DATA=file NETWORK=name shows your own
	@$(BIN)/tally demo $(if $(DATA),--data '$(DATA)') $(if $(NETWORK),--network '$(NETWORK)') $(if $(filter 1,$(DEMO_EXIT)),--exit)

up: setup ## Start the local stack
	@$(BIN)/tally up

servers: setup ## Start a stack on real servers in data/servers: Kafka, MongoDB's protocol, S3, PostgreSQL
	@export TALLY_HOME="$${TALLY_HOME:-data/servers}"; $(BIN)/tally up --engines servers; \
	  echo "For tally's other commands, and for make down: export TALLY_HOME=$$TALLY_HOME"

down: ## Stop the local stack; data stays
	@$(BIN)/tally down

status: ## Processes, memory, lag, last seal
	@$(BIN)/tally status

test: setup ## All tests that need no server beyond pip
	@$(BIN)/pytest -n $(TEST_WORKERS) --dist loadfile -m 'not servers' --ignore tests/benchmarks $(ARGS)

# What says sqlite has run in `make test`.
servers-test: setup ## Tests and contract suites on real servers: Kafka, MongoDB's protocol, Redis, PostgreSQL, S3
	@$(BIN)/python tests/servers/run.py $(BIN)/pytest -n $(TEST_WORKERS) --dist loadfile -k 'not sqlite' tests/servers \
	  $(addprefix tests/resources/,event_log raw_store profiles archive cache) $(ARGS)

bench: setup ## Measure; prints a table of ratios
	@if compgen -G 'tests/benchmarks/test_*.py' >/dev/null; then $(BIN)/pytest tests/benchmarks -s --timeout 900 $(ARGS); \
	else echo "tests/benchmarks: nothing there yet, so nothing was measured"; fi

lint: setup ## Style, format, types, import rules, dbt
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/dbt --quiet parse --project-dir dbt_project --profiles-dir dbt_project

fmt: setup ## Format the code and sort its imports
	@$(BIN)/ruff check --fix . && $(BIN)/ruff format .

docs: setup ## Write the generated pages again: command line, metrics, JSON Schemas
	@$(BIN)/python -m contracts.metric_files
	@$(BIN)/python -m contracts.publish
	@$(BIN)/python -m orchestration.cli.reference

clean: ## Remove caches; .venv and data stay
	@rm -rf .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist *.egg-info
