# Two commands do everything on a fresh machine: make demo, make test. The rest is for daily work.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
# Processes that the suite runs in: most tests wait for programs that they have started. On two cores three take 27
# minutes where two took 34 (docs/measurements.md).
TESTERS ?= 3
# A current pip installs the lock in two thirds of the time of the one venv brings. Modules are compiled when first imported
# instead of all 20,000 at once (docs/measurements.md), so this must not be switched off:
unexport PYTHONDONTWRITEBYTECODE
# Ports and state of a person's own Dagster must not leak into the factory's.
export PYTHONWARNINGS ?= ignore
export TOKENIZERS_PARALLELISM := false

.PHONY: demo demo-chat ui test test-slow check format install

install: $(BIN)/.installed

$(BIN)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing pinned packages into $(VENV) (about 2 GB, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade 'pip>=26'
	@$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

demo: install
	@$(BIN)/neo demo

# The same model, taught to answer; reuses what `make demo` made.
demo-chat: install
	@NEO_RECIPE=chat $(BIN)/neo demo

ui: install
	@$(BIN)/neo ui

test: install check
	@$(BIN)/python -m pytest -n $(TESTERS) --dist loadscope --no-loadscope-reorder --durations 25 -m 'not slow'

test-slow: install
	@$(BIN)/python -m pytest -m slow

check: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(BIN)/python -m pytest --quiet tests/core/test_fingerprint.py -k does_not_change_unseen

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .
