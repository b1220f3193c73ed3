# Each target does its own set-up: a fresh machine needs Python >= 3.11, pip and make.
PYTHON ?= python3
VENV := .venv
TORCH ?= auto
BIN := $(VENV)/bin

# Tests of a file share a worker (tests/conftest.py); the long ones begin first.
WORKERS ?= logical
PYTEST := $(BIN)/python -m pytest --numprocesses $(WORKERS) --maxprocesses 8 --no-loadscope-reorder

.PHONY: install demo docs fuzz test test-quick kafka test-kafka test-ray test-adapters lint audit bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/python deploy/install_torch.py $(TORCH)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

demo: install
	$(BIN)/python -m broker_filter.demo

test: install
	$(PYTEST)

test-quick: install  # no broker, no training, no drawn sky, no ONNX, nothing slow
	$(PYTEST) -m "not broker and not training and not sky and not export and not slow"

kafka: .kafka/libs/.fetched

.kafka/libs/.fetched: deploy/kafka/pom.xml
	@command -v mvn > /dev/null || { echo "no Maven: install it and Java 17 (Debian: maven, openjdk-17-jre-headless), or unpack a download of Apache Kafka 4 and set ICTC_KAFKA_HOME to its folder"; exit 1; }
	rm -rf .kafka/libs
	mvn -q -f deploy/kafka/pom.xml dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory=$(CURDIR)/.kafka/libs
	touch $@

test-kafka: install $(if $(ICTC_KAFKA_HOME),,kafka)
	ICTC_TEST_KAFKA=1 $(BIN)/python -m pytest tests/kafka

test-ray: install  # an archive replayed on a Ray cluster of this machine
	ICTC_TEST_RAY=1 $(BIN)/python -m pytest tests/broker_filter/archive/cluster

test-adapters: install  # each adapter with the real library, in an environment of its own
	$(BIN)/python tests/adapters/environments.py

docs: install  # the site, in docs/_build
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet -j auto docs docs/_build

lint: install docs
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python deploy/audit.py

audit: install
	$(BIN)/python deploy/audit.py --strict

fuzz: install  # hostile inputs for MINUTES, and a table of what was tried and found
	$(BIN)/python tests/broker_filter/fuzz/run.py --minutes $(or $(MINUTES),10)

bench: install
	$(BIN)/python -m benchmarks --all

clean:
	rm -rf $(VENV) build dist *.egg-info
