# Everything sets itself up in .venv, once; only Python 3.11 or newer and make are needed.
SHELL := /bin/sh
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.ready

.PHONY: demo test lint bench test-docker lock clean

demo: $(STAMP)
	$(PY) -m streamq demo

test: lint
	$(PY) -m pytest tests --ignore=tests/docker

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(STAMP)
	$(PY) -m benchmarks

test-docker: $(STAMP)
	$(PY) -m pytest tests/docker --capture=no

# The lock is made anew from pyproject.toml; it holds for Python 3.11 and newer on every platform.
lock: $(STAMP)
	$(PY) -m pip install --quiet uv
	$(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --no-annotate --all-extras --no-emit-package streamq --quiet --output-file requirements.lock pyproject.toml

# pip resolves nothing here: the lock names every package and its hash.
$(STAMP): requirements.lock pyproject.toml
	@python=$$(PYTHON="$(PYTHON)" sh tools/find-python.sh) && "$$python" -m venv $(VENV)
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements.lock
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(STAMP)

clean:
	rm -rf $(VENV) .streamq .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
