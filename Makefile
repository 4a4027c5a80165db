# The developer's manual: `make help`.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STACK := $(BIN)/python -m include.local_stack
READY := .venv/.ready
PEERS := .venv/.peers

.PHONY: help setup demo up down status cluster-up cluster-down cluster-status cluster-demo cluster-run cluster-test compose-env doctor run airflow report relocate test test-fast fault-test matrix-test browser-test coverage lint bench bench-quick bench-speed bench-bulk bench-latency restore docs
.DEFAULT_GOAL := help

help:  ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## install what is needed, into .venv and var/
	@$(STACK) jars

demo: $(READY)  ## from a log to its reports: make demo [LOG=path/to/access.log]
	@$(STACK) demo $(if $(LOG),--log "$(LOG)")

up: $(READY)  ## start the Kafka broker and Airflow
	@$(STACK) up

down: $(READY)  ## end them; data stays in var/
	@$(STACK) down

status: $(READY)  ## what runs, and where
	@$(STACK) status

cluster-up: $(READY)  ## a cluster on this machine: 3 brokers, Spark master and 2 workers, PostgreSQL, Airflow
	@$(STACK) --cluster up

cluster-down: $(READY)  ## end it; data stays in var/cluster
	@$(STACK) --cluster down

cluster-status: $(READY)  ## what of it runs, and where
	@$(STACK) --cluster status

cluster-demo: $(READY)  ## the demo on it: make cluster-demo [LOG=path/to/access.log]
	@$(STACK) --cluster demo $(if $(LOG),--log "$(LOG)")

cluster-run: $(READY)  ## trigger a DAG of it: make cluster-run DAG=analyse_access_log [CONF='{…}']
	@$(STACK) --cluster run $(DAG) $(if $(CONF),'$(CONF)')

cluster-test: setup  ## the cluster's tests: its parts are killed in the middle; landed data in S3
	@$(BIN)/python -m pytest tests/cluster

compose-env: $(READY)  ## the secrets that docker-compose.yaml asks for, into .env
	@$(STACK) compose-env

doctor: $(READY)  ## what is missing or in the way, with the remedy
	@$(STACK) doctor

run: $(READY)  ## trigger a DAG and follow it: make run DAG=analyse_access_log [CONF='{"day": "2026-01-15"}']
	@$(STACK) run $(DAG) $(if $(CONF),'$(CONF)')

airflow: $(READY)  ## Airflow's own commands: make airflow ARGS="dags list"
	@$(STACK) airflow $(ARGS)

report: $(READY)  ## a day or a range as tables: make report [DAY=… | FROM=… TO=…] [ARGS="--people --panel hosts"]
	@$(BIN)/python -m include.reporting.table $(if $(DAY),--day "$(DAY)") $(if $(FROM),--from "$(FROM)") $(if $(TO),--to "$(TO)") $(ARGS)

relocate: $(READY)  ## after var/ was moved: make relocate FROM=/where/it/was
	@$(STACK) relocate "$(FROM)"

test: setup  ## the tests: make test [ARGS="-k landing"]
	@$(BIN)/python -m tests $(ARGS)

test-fast: $(READY)  ## the tests that need no JVM
	@$(BIN)/python -m pytest tests/unit tests/dags

fault-test: setup  ## processes killed, lines sent twice, months of days, the commands of docs/operations.md
	@$(BIN)/python -m pytest -m fault tests/kafka tests/spark tests/whole $(ARGS)

matrix-test: setup  ## all cells of the tables of cases, of which `make test` runs some of each kind
	@$(BIN)/python -m pytest -m matrix tests/kafka tests/spark $(ARGS)

browser-test: setup  ## pages in a real browser, beyond the one of each kind in `make test`
	@$(BIN)/python -m pytest -m browser tests/whole $(ARGS)

coverage: setup  ## lines and branches of our own packages that `make test` reaches
	@$(BIN)/coverage erase && { $(BIN)/coverage run -m tests $(ARGS) || true; } && $(BIN)/coverage combine --quiet && $(BIN)/coverage report

lint: $(READY)  ## ruff, mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy include producers spark_jobs

bench: bench-speed bench-bulk bench-latency  ## all benchmarks into docs/benchmarks.md (over an hour)

bench-quick: $(PEERS)  ## the speed benchmark on a few lines, to see that it works
	@$(BIN)/python -m bench.speed --quick

bench-speed: $(PEERS)  ## seconds and memory of every part, and of others: make bench-speed [SIZES="100000 1000000"]
	@$(BIN)/python -m bench.speed $(SIZES)

bench-bulk: $(READY)  ## seconds and memory of months of logs in bulk
	@$(BIN)/python -m bench.bulk

bench-latency: $(READY)  ## milliseconds from Kafka through Spark to Kafka
	@$(BIN)/python -m bench.latency

restore: $(READY)  ## put back the reports that a run replaced: make restore RUN=… [DAYS="…"]
	@$(BIN)/python -m include.publishing $(if $(RUN),"$(RUN)" $(DAYS))

docs: $(READY)  ## write what docs/ has from the code: DAGs, settings, combinations
	@$(BIN)/python -m include.pages

# uv if it is there, else installed into the environment itself.
$(READY): requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.11 or later is needed: $(PYTHON) was not found"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Python 3.11 to 3.13 is needed, {sys.executable} is {v.major}.{v.minor}: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing Python packages into .venv (about a minute the first time)"
	@uv=$$(command -v uv) || { $(BIN)/python -m pip install --quiet --disable-pip-version-check uv && uv=$(BIN)/uv; }; \
	  VIRTUAL_ENV="$(CURDIR)/.venv" $$uv pip sync --quiet --require-hashes requirements.lock
	@touch $@

# What benchmarks compare with, beside what the project needs.
$(PEERS): $(READY) bench/requirements.lock
	@uv=$$(command -v uv || echo $(BIN)/uv); test -x "$$uv" || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	  VIRTUAL_ENV="$(CURDIR)/.venv" $$uv pip install --quiet --require-hashes -r bench/requirements.lock
	@touch $@
