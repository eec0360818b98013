# Every target does its own set-up. What pip can't bring (Python 3.11+, Java 17, Maven, a promtool, a Chromium) is installed
# where root has apt; elsewhere a line says what to install.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

PYTHON ?= $(firstword $(shell command -v python3.11 python3))
BIN := .venv/bin
INSTALLED := .venv/.installed
TINYBIRD_BIN := .cache/tinybird-venv/bin
TINYBIRD_INSTALLED := .cache/tinybird-venv/.installed
PIP_INSTALL := install -qq --disable-pip-version-check

.PHONY: help
help: ## show the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: setup
setup: $(INSTALLED) ## install everything into .venv, from the hashed lock

# Redone only when the lock or the project file changes. The lock is complete, so pip must not look further (--no-deps):
# an extra such as coverage[toml] would make it take a newer version than the one that is pinned, and then refuse that.
$(INSTALLED): requirements.lock pyproject.toml
	@scripts/ensure-tools python $(PYTHON)
	test -x $(BIN)/python || "$(or $(PYTHON),python3)" -m venv .venv
	@echo 'installing into .venv: a minute or two'
	$(BIN)/python -m pip $(PIP_INSTALL) --require-hashes --no-deps -r requirements.lock
	$(BIN)/python -m pip $(PIP_INSTALL) --no-deps --no-build-isolation -e .
	touch $@

.PHONY: demo
demo: setup java ## run everything and watch live what arrives
	$(BIN)/tracker demo

.PHONY: demo-check
demo-check: setup java chromium ## the same unattended: a real browser visits, then its rows are compared
	$(BIN)/tracker demo --check

.PHONY: dev
dev: setup java ## run everything, each line of output behind the name of its process
	$(BIN)/tracker dev

.PHONY: lint
lint: setup check-tinybird check-alerts ## style, types, import rules, Tinybird files, alerts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: check-alerts
check-alerts: setup ## Prometheus's own check of alerts and dashboard; apt for promtool
	@scripts/check-alerts

.PHONY: check-tinybird
check-tinybird: $(TINYBIRD_INSTALLED) ## Tinybird's own check of every datasource and pipe file
	@find tinybird examples -name '*.datasource' -o -name '*.pipe' | sort | while read -r file; do \
	  $(TINYBIRD_BIN)/tb check "$$file"; done

# Tinybird's CLI pins much of what we use to other versions, so it lives in an environment of its own.
$(TINYBIRD_INSTALLED): requirements-tinybird.lock | $(INSTALLED)
	test -x $(TINYBIRD_BIN)/python || $(BIN)/python -m venv .cache/tinybird-venv
	$(TINYBIRD_BIN)/python -m pip $(PIP_INSTALL) --require-hashes --no-deps -r requirements-tinybird.lock
	touch $@

.PHONY: sdk
sdk: ## make tracker.js anew from sdk/, and the page of reports from reports/; needs npm
	@scripts/build-sdk
	@scripts/build-reports

.PHONY: check-sdk
check-sdk: ## tracker.js is what sdk/ gives, its types and the Node client's hold, block lists let it pass, and the page of reports is what reports/ gives; needs npm
	@scripts/build-sdk --check
	@scripts/build-reports --check

.PHONY: clients
clients: setup ## make the types of the Python and Node clients anew
	$(BIN)/python -m clients.generate

.PHONY: settings-page
settings-page: setup ## make docs/settings.md and .env.example anew
	@scripts/make-settings-page

.PHONY: format
format: setup ## let ruff rewrite what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: unit
unit: setup ## the fast tests on all cores: no Kafka, no browser; in another time zone and in random order
	PYTHONHASHSEED=$${PYTHONHASHSEED:-$$RANDOM} $(BIN)/pytest -n auto -m 'not slow' tests/unit tests/property tests/simulation/test_few_seeds.py tests/simulation/test_doubles.py

.PHONY: pythons
pythons: setup ## the fast tests on every other Python that is here, 3.12 to 3.14
	@scripts/check-pythons

.PHONY: simulate
simulate: setup ## strike the simulated system: make simulate SEEDS=10000, or replay one with SEED=123
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),2000)) $(if $(FROM),--from $(FROM))

.PHONY: test
test: setup java chromium $(TINYBIRD_INSTALLED) ## all tests, on a real Kafka, ClickHouse and browser
	@scripts/run-tests

.PHONY: coverage
coverage: setup java chromium $(TINYBIRD_INSTALLED) ## all tests, and which lines and branches they reach, in the stages' own processes too
	@scripts/run-tests --coverage

.PHONY: mutants
mutants: setup ## plant 150 small mistakes and see which the fast tests catch: make mutants PARTS="sink table" SINCE=HEAD~5 SAMPLE=50
	$(BIN)/python -m tests.mutants --sample $(or $(SAMPLE),150) --seed $(or $(SEED),1) \
	  $(if $(PARTS),--parts $(PARTS)) $(if $(SINCE),--since $(SINCE)) $(if $(AT_LEAST),--at-least $(AT_LEAST))

.PHONY: mutants-whole
mutants-whole: setup ## all of them, an hour or two; goes on where it was interrupted
	$(BIN)/python -m tests.mutants --whole $(if $(PARTS),--parts $(PARTS))

.PHONY: faults
faults: setup ## strike workers and three brokers in every way; make faults ONLY=zombie SEED=7 BROKERS=1 picks one
	$(BIN)/python -m tests.faults $(if $(ONLY),--only $(ONLY)) $(if $(SEED),--seed $(SEED)) $(if $(ROUNDS),--rounds $(ROUNDS)) \
	  $(if $(BROKERS),--brokers $(BROKERS))

.PHONY: faults-sink
faults-sink: setup ## half an hour of Tinybird failing in every way, outage of ten minutes included; kills meanwhile
	TRACKER_TEST_FAULTS=long $(BIN)/pytest -s tests/integration/sink/test_sink_faults.py

.PHONY: faults-collect
faults-collect: setup ## Kafka away and the collector killed under load; attacks beside honest visitors
	TRACKER_TEST_FAULTS=long $(BIN)/pytest -s tests/integration/test_spill_kills.py tests/integration/collect/test_collect_attacks.py

.PHONY: arbitrary
arbitrary: setup ## whatever records a broker takes, and then a replay of them: make arbitrary RECORDS=100000 SEED=7
	ARBITRARY_RECORDS=$(or $(RECORDS),20000) ARBITRARY_SEED=$(or $(SEED),1) \
	  $(BIN)/pytest -s tests/integration/test_arbitrary_records.py

.PHONY: bench
bench: setup java ## measure; ONLY=process picks a part, ONLY=peers compares with other engines
	$(BIN)/python -m benchmarks $(if $(ONLY),--only $(ONLY))

# Java for the local broker, and Maven for its jars; a broker that answers already will do.
.PHONY: java
java: setup
	@scripts/ensure-tools java

.PHONY: firefox
firefox: ## install Firefox, in which the tests of tracker.js run too if it is there
	@scripts/ensure-firefox

.PHONY: chromium
chromium:
	@scripts/ensure-chromium

# Three locks of one choice of versions: all, what the image needs, and that with the local Tinybird.
PIP_COMPILE := $(BIN)/pip-compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
  --no-emit-trusted-host --strip-extras --allow-unsafe
.PHONY: lock
lock: setup ## pin the dependencies anew; the files name no index
	$(PIP_COMPILE) --extra dev --extra local --extra demo --extra parquet --extra tracing -o requirements.lock pyproject.toml
	$(PIP_COMPILE) --constraint requirements.lock --extra parquet --extra tracing -o requirements-runtime.lock pyproject.toml
	$(PIP_COMPILE) --constraint requirements.lock --extra parquet --extra tracing --extra local -o requirements-local.lock pyproject.toml
	$(PIP_COMPILE) -o requirements-audit.lock requirements-audit.in

.PHONY: image
image: setup ## build the container image, with docker or buildah; both targets, a bill of materials beside it
	@scripts/build-image

.PHONY: image-check
image-check: image ## build the image, then run the stages from its own root; root and buildah
	$(BIN)/pytest -q tests/integration/test_image.py

.PHONY: wheel-check
wheel-check: setup java ## install the wheel into an empty environment and run the stack from it; fetches all dependencies
	TRACKER_TEST_WHEEL=1 $(BIN)/pytest -q -s tests/integration/test_installed_package.py

.PHONY: sbom
sbom: setup ## list the image's dependencies with their licences, CycloneDX: dist/sbom.json, dist/licences.txt
	@scripts/make-sbom

.PHONY: audit
audit: setup ## ask the advisory databases about every pinned dependency; says so where they can't be asked
	$(BIN)/python -m tests.audit

.PHONY: clean
clean: ## remove what was installed, cached and stored here (.venv, .cache, .data)
	rm -rf .venv .cache .data
