# `make help` lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
STACK := $(BIN)/python -m include.local_stack
READY := .venv/.ready
PEERS := .venv/.peers

.PHONY: help setup demo up down status cluster-up cluster-down cluster-status cluster-demo cluster-run cluster-test compose-env doctor run airflow report relocate test test-fast fault-test matrix-test browser-test coverage lint bench bench-quick bench-speed bench-bulk bench-latency restore resummarise docs
.DEFAULT_GOAL := help

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY)  ## install Python packages into .venv and jars into var/
	@$(STACK) jars

demo: $(READY)  ## start the stack and run the main job once: make demo [LOG=path/to/access.log]
	@$(STACK) demo $(if $(LOG),--log "$(LOG)")

up: $(READY)  ## start the Kafka broker and Airflow
	@$(STACK) up

down: $(READY)  ## stop the broker and Airflow; data is kept in var/
	@$(STACK) down

status: $(READY)  ## show the state and address of each service
	@$(STACK) status

cluster-up: $(READY)  ## start a cluster on this machine: 3 brokers, Spark master and 2 workers, PostgreSQL, Airflow
	@$(STACK) --cluster up

cluster-down: $(READY)  ## stop the cluster; data is kept in var/cluster
	@$(STACK) --cluster down

cluster-status: $(READY)  ## show the state and address of each service of the cluster
	@$(STACK) --cluster status

cluster-demo: $(READY)  ## run the demo on the cluster: make cluster-demo [LOG=path/to/access.log]
	@$(STACK) --cluster demo $(if $(LOG),--log "$(LOG)")

cluster-run: $(READY)  ## trigger a DAG of the cluster: make cluster-run DAG=analyse_access_log [CONF='{…}']
	@$(STACK) --cluster run $(DAG) $(if $(CONF),'$(CONF)')

cluster-test: setup  ## test the cluster: services killed while they work, Kafka logins, landed data in S3
	@$(BIN)/python -m pytest tests/cluster

compose-env: $(READY)  ## add the secrets that docker-compose.yaml requires to .env
	@$(STACK) compose-env

doctor: $(READY)  ## check this machine and print a remedy for each problem
	@$(STACK) doctor

run: $(READY)  ## trigger a DAG and show its tasks: make run DAG=analyse_access_log [CONF='{"day": "2026-01-15"}']
	@$(STACK) run $(DAG) $(if $(CONF),'$(CONF)')

airflow: $(READY)  ## run a command of Airflow's command line: make airflow ARGS="dags list"
	@$(STACK) airflow $(ARGS)

report: $(READY)  ## print the report of a day or a range: make report [DAY=… | FROM=… TO=…] [ARGS="--humans-only --panel hosts"]
	@$(BIN)/python -m include.reporting.terminal_table $(if $(DAY),--day "$(DAY)") $(if $(FROM),--from "$(FROM)") $(if $(TO),--to "$(TO)") $(ARGS)

relocate: $(READY)  ## update a lake after var/ was moved: make relocate FROM=/previous/path
	@$(STACK) relocate "$(FROM)"

test: setup  ## run the tests: make test [ARGS="-k landing"]
	@$(BIN)/python -m tests $(ARGS)

test-fast: $(READY)  ## run the tests that need no JVM and no Airflow (two to three minutes)
	@$(BIN)/python -m pytest -n 2 -m "not matrix" tests/unit $(ARGS)

fault-test: setup  ## test killed processes, lines sent twice, months of days, the commands of docs/operations.md
	@$(BIN)/python -m pytest -m fault tests/kafka tests/spark tests/whole $(ARGS)

matrix-test: setup  ## test all combinations of sinks, modes, triggers and formats; `make test` covers some of each
	@$(BIN)/python -m pytest -m matrix tests/kafka tests/spark tests/unit $(ARGS)

browser-test: setup  ## test more pages in a real browser; `make test` covers one of each kind
	@$(BIN)/python -m pytest -m browser tests/whole $(ARGS)

coverage: setup  ## report line and branch coverage of `make test` for the project's packages
	@$(BIN)/coverage erase && { $(BIN)/coverage run -m tests $(ARGS) || true; } && $(BIN)/coverage combine --quiet && $(BIN)/coverage report

lint: $(READY)  ## run ruff and mypy
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy include producers spark_jobs

bench: bench-speed bench-bulk bench-latency  ## run all benchmarks and write docs/benchmarks.md (over an hour)

bench-quick: $(PEERS)  ## run the speed benchmark on a few lines, to check that it works
	@$(BIN)/python -m bench.speed --quick

bench-speed: $(PEERS)  ## measure seconds and memory of each step and of other tools: make bench-speed [SIZES="100000 1000000"]
	@$(BIN)/python -m bench.speed $(SIZES)

bench-bulk: $(READY)  ## measure seconds and memory of a bulk backfill of months
	@$(BIN)/python -m bench.bulk

bench-latency: $(READY)  ## measure the latency from Kafka through Spark to Kafka, in milliseconds
	@$(BIN)/python -m bench.latency

restore: $(READY)  ## restore the reports that a run replaced: make restore RUN=… [DAYS="…"]
	@$(BIN)/python -m include.reporting.restore $(if $(RUN),"$(RUN)" $(DAYS))

resummarise: setup  ## recreate summaries and reports of an earlier version, or without a newer panel, from landed data
	@$(BIN)/python -m include.orchestration.resummarise

docs: $(READY)  ## generate the pages of docs/ that come from the code: DAGs, settings, combinations, panels, schema
	@$(BIN)/python -m include.generate_docs

# Uses uv if it is installed; otherwise installs it into the environment.
$(READY): requirements.lock
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) was not found; install Python 3.11 to 3.13, or name one: make PYTHON=python3.12 …"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"{sys.executable} is Python {v.major}.{v.minor}; Python 3.11 to 3.13 is needed: make PYTHON=python3.12 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing Python packages into .venv (about a minute the first time)"
	@uv=$$(command -v uv) || { $(BIN)/python -m pip install --quiet --disable-pip-version-check uv && uv=$(BIN)/uv; }; \
	  VIRTUAL_ENV="$(CURDIR)/.venv" $$uv pip sync --quiet --require-hashes requirements.lock
	@touch $@

# Packages that only the benchmarks need, to compare with.
$(PEERS): $(READY) bench/requirements.lock
	@uv=$$(command -v uv || echo $(BIN)/uv); test -x "$$uv" || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; \
	  VIRTUAL_ENV="$(CURDIR)/.venv" $$uv pip install --quiet --require-hashes -r bench/requirements.lock
	@touch $@
