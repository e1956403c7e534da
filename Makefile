# Everything a checkout needs: `make run`, `make test`, `make lint`. The first use makes .venv and builds the extension
# modules; after that each target is quiet until a source changes.
#   make PYTHON=/path/to/python3.12 …   builds with that interpreter
#   make test ARGS="-k purge -x"        hands arguments to pytest
#   make test JOBS=1                    one test after the other; most tests wait more than they compute

SHELL := /bin/sh
VENV  ?= .venv
BIN   := $(VENV)/bin
ARGS  ?=
JOBS  ?= 4

INSTALLED := $(VENV)/.installed
BUILT     := $(VENV)/.built
CYTHON    := $(shell find cdn -name '*.pyx' -o -name '*.pxd')

.DEFAULT_GOAL := help
.PHONY: help run build test test-full test-deps lint format bench bench-hits bench-micro bench-memory bench-scale clean

help:
	@echo "make run        set up, then start the demo: an origin, the proxy and the dashboard on localhost"
	@echo "make test       set up, then run the tests"
	@echo "make test-full  the long variants as well: about 40 minutes on two cores"
	@echo "make lint       ruff, mypy --strict, the import floors, the stubs of the extension modules, the hot path"
	@echo "make bench      measure beside nginx, HAProxy, Varnish and Traffic Server"
	@echo "make bench-micro, bench-memory, bench-scale   ns per operation, bytes per connection and object, cost as things grow"
	@echo "make bench-hits how often the store answers, policy by policy"
	@echo "make clean      remove what was built (make clean VENV_TOO=1: .venv as well)"

run: $(BUILT)
	@exec $(BIN)/cdn demo $(ARGS)

build: $(BUILT)

test: $(BUILT) test-deps
	@$(BIN)/python -m pytest -m "not full" -n $(JOBS) --dist worksteal $(ARGS)

test-full: $(BUILT) test-deps
	@status=0; \
	$(BIN)/python -m pytest -m "not alone" -n $(JOBS) --dist worksteal $(ARGS) || status=$$?; \
	$(BIN)/python -m pytest -m alone $(ARGS) || status=$$?; \
	exit $$status

# The real peers (nginx, chromium, …) that some tests run against; without them those tests are skipped and say so.
test-deps:
	@sh tests/requirements.sh

lint: $(BUILT)
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/lint-imports --no-cache >.lint-imports.log 2>&1 || { cat .lint-imports.log; rm -f .lint-imports.log; exit 1; }
	@rm -f .lint-imports.log
	@$(BIN)/python tools/check_floors.py
	@$(BIN)/python tools/check_stubs.py
	@$(BIN)/python tools/check_hot.py

format: $(BUILT)
	@$(BIN)/ruff check --fix -q .
	@$(BIN)/ruff format -q .

bench: $(BUILT)
	@exec $(BIN)/python -m bench $(ARGS)

bench-memory bench-micro bench-scale: bench-%: $(BUILT)
	@exec $(BIN)/python -m bench.$* $(ARGS)

bench-hits: $(BUILT)
	@exec $(BIN)/python -m bench.hits $(ARGS)

clean:
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find cdn \( -name '*.so' -o -name '*.c' -o -name '_*.html' \) -delete
	@find . -path ./$(VENV) -prune -o -name __pycache__ -type d -print | xargs rm -rf
	@rm -f $(BUILT)
	@if [ -n "$(VENV_TOO)" ]; then rm -rf $(VENV); fi

$(VENV)/bin/python:
	@command -v gcc >/dev/null || command -v cc >/dev/null || \
	    { echo "make: no C compiler was found: apt-get install gcc" >&2; exit 1; }
	@python=$$(PYTHON="$(PYTHON)" tools/find-python) || exit 1; \
	echo "make: creating $(VENV) with $$python"; \
	"$$python" -m venv $(VENV)

# --no-build-isolation: one Cython, the one that also rebuilds in place below.
$(INSTALLED): pyproject.toml | $(VENV)/bin/python
	@echo "make: installing what the project needs into $(VENV)"
	@$(BIN)/python -m pip install -q --disable-pip-version-check --upgrade "setuptools>=77" "cython>=3.1"
	@CDN_ONLY=none $(BIN)/python -m pip install -q --disable-pip-version-check --no-build-isolation -e ".[dev]"
	@touch $@

$(BUILT): $(INSTALLED) setup.py $(CYTHON)
	@echo "make: building the extension modules"
	@$(BIN)/python setup.py -q build_ext --inplace >$(VENV)/build.log 2>&1 || { cat $(VENV)/build.log; exit 1; }
	@touch $@
