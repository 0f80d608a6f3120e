# The two main targets: `make run` and `make test`.
PYTHON ?= python3.11
BIN := .venv/bin
UV := $(BIN)/uv
MANAGE := $(BIN)/python manage.py

# uv uses its own CA certificates. Behind a TLS proxy, only the CA certificates of the machine work.
ifneq ($(wildcard /etc/ssl/certs/ca-certificates.crt),)
export SSL_CERT_FILE ?= /etc/ssl/certs/ca-certificates.crt
endif

# The progress of an installation is for a person at a terminal: logs stay short.
QUIET := $(shell test -t 2 || echo --quiet)

.PHONY: run test pytest test-slow check lint types imports migrations production scripts messages lock vendor env-example \
	bench chaos picture system clean
.DELETE_ON_ERROR:

run: .venv/runtime
	@echo "Starting Maru."
	@exec $(BIN)/python -m maru.server

# The checks run in parallel with the tests, which mostly wait for servers and browsers.
test: system .venv/development
	@$(MAKE) --no-print-directory --jobs=2 pytest check scripts

pytest: .venv/development
	$(BIN)/pytest

# Run the tests as on a slow machine: each process gets a third of a core (tests/throttle.py).
test-slow: system .venv/development
	$(BIN)/python -m tests.throttle -- $(BIN)/pytest --numprocesses=4 $(TESTS)

check: types lint imports migrations production

imports: .venv/development
	$(BIN)/lint-imports

migrations: .venv/development
	$(MANAGE) makemigrations --check --dry-run

production: .venv/development
	$(BIN)/python -m tests.codebase.production_check

scripts:
	@node --test tests/js/

lint: .venv/development
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/djlint templates --lint --quiet

types: .venv/development
	$(BIN)/mypy

# Collect translatable strings into the locale folder of each app.
messages: .venv/development
	$(MANAGE) messages

env-example: .venv/development
	$(BIN)/python -c 'from maru.config.env import example; print(example(), end="")' > .env.example

lock: .venv/uv
	$(UV) pip compile pyproject.toml --upgrade --extra agents $(LOCK_OPTIONS) -o requirements.lock
	$(UV) pip compile pyproject.toml --upgrade -c requirements.lock $(LOCK_OPTIONS) \
		-o deploy/requirements-web.lock
	$(UV) pip compile pyproject.toml --upgrade --extra agents --group dev -c requirements.lock \
		$(LOCK_OPTIONS) -o requirements-dev.lock
	$(UV) pip compile --upgrade --group chart -c requirements-dev.lock $(LOCK_OPTIONS) \
		-o tests/deploy/requirements-chart.lock

# Fetch the npm libraries of the page again. See deploy/vendor.sh.
vendor:
	@sh deploy/vendor.sh

LOCK_OPTIONS := --quiet --generate-hashes --no-emit-index-url --python-version 3.11 \
	--custom-compile-command "make lock"

# make bench PARTS="fanout joins" QUICK=1; without PARTS all parts run. See tests/bench/README.md.
bench: .venv/development
	$(BIN)/python -m tests.bench $(if $(QUICK),--quick) $(PARTS)

# Inject faults repeatedly. This takes half an hour on an idle machine. The results are in
# tests/chaos/RESULTS.md.
chaos: system .venv/development
	$(BIN)/python -m tests.chaos

# Take the screenshot of the README.
picture: system .venv/development
	$(BIN)/python -m tests.e2e.picture

system:
	@sh tests/system.sh

clean:
	rm -rf .venv

# Each of these files marks a finished installation step, for the version of its prerequisites.
.venv/uv:
	@echo "Creating .venv and installing uv, which installs the packages."
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --quiet --disable-pip-version-check uv
	@touch $@

.venv/runtime: requirements.lock pyproject.toml | .venv/uv
	@echo "Installing the packages of Maru. The first time takes a minute or two."
	@$(UV) pip install $(QUIET) --compile-bytecode --require-hashes -r requirements.lock
	@$(UV) pip install $(QUIET) --no-deps --editable .
	@touch $@

.venv/development: requirements-dev.lock tests/deploy/requirements-chart.lock .venv/runtime
	@echo "Installing the packages of the tests."
	@$(UV) pip install $(QUIET) --require-hashes -r requirements-dev.lock
	@$(UV) pip install --quiet --require-hashes --only-binary :all: -r tests/deploy/requirements-chart.lock \
		|| echo "Helm's library has no package for this machine: the tests of deploy/helm are skipped."
	@touch $@
