# Everything a developer runs. Each target does its own set-up in .venv; repeated runs skip what is up to date.

export PATH := $(PATH):$(HOME)/.cargo/bin
PY := .venv/bin/python
NATIVE := $(shell find native -name '*.rs' -not -path '*/target/*') native/Cargo.toml native/Cargo.lock
DEMO := .venv/.demo .venv/.native
DEV := .venv/.dev .venv/.native
MINUTES ?= 3

.NOTPARALLEL:
.PHONY: demo test test-fast test-native check bench soak load docs clean help

help: ## What there is
	@sed -n 's/^\([a-z-]*\):.*## /\1: /p' Makefile

demo: $(DEMO) ## From raw flights to a served vector, in about a minute
	@.venv/bin/asof demo

test: test-native $(DEV) ## Every test: the kernel's own, then Python's
	$(PY) -m pytest -q -n auto

test-fast: $(DEV) ## The tests that take milliseconds
	$(PY) -m pytest -q -n auto -m "not slow"

test-native: $(DEV)
	cargo test --quiet --manifest-path native/Cargo.toml --no-default-features

check: $(DEV) ## Format, lint, types, layers, documentation
	@command -v cargo-fmt >/dev/null && command -v cargo-clippy >/dev/null || \
	{ echo "asof: rustfmt or clippy was not found. Install them with:  rustup component add rustfmt clippy" >&2; exit 1; }
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache
	cargo fmt --manifest-path native/Cargo.toml --check
	cargo clippy --quiet --manifest-path native/Cargo.toml --all-targets -- -D warnings
	$(MAKE) docs

bench: $(DEV) ## The speed figures, each beside its peer
	$(PY) bench/run.py

soak: $(DEV) ## Streams under kill -9 for MINUTES (3): every read checked, every message counted
	$(PY) -m tests.soak.run $(MINUTES)

load: $(DEV) ## Everything at once for MINUTES (3) on each of STORES (all), while processes and servers are killed
	$(PY) -m tests.load.run $(MINUTES) $(STORES)

docs: $(DEV) ## The documentation, into docs/_build/html
	.venv/bin/sphinx-build -q -W --keep-going -b html docs docs/_build/html

clean: ## Remove what make made
	rm -rf .venv .servers docs/_build native/target flights-demo dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -f src/asof/_native*.so

.venv/.demo: pyproject.toml
	@tools/setup.sh demo
	@touch $@ .venv/.native

.venv/.dev: pyproject.toml tests/servers/pom.xml
	@tools/setup.sh dev
	@touch $@ .venv/.native

.venv/.native: $(NATIVE)
	@tools/setup.sh native
	@touch $@
