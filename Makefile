# Every target makes what it needs: `make demo` and `make test` work from a bare clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(shell command -v uv 2>/dev/null)

ifeq ($(UV),)
define install
$(PYTHON) -m venv $(VENV)
$(BIN)/python -m pip install --quiet --upgrade pip
$(BIN)/python -m pip install --quiet --editable '.$(1)'
endef
else
define install
$(UV) venv --quiet --allow-existing --python $(PYTHON) $(VENV)
$(UV) pip install --quiet --python $(BIN)/python --editable '.$(1)'
endef
endif

# A worker on every core, each with one thread: threads of several workers would wait for each other.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

.PHONY: help demo test test-slow golden fuzz gpu check wheel-test docs bench clean

help:
	@echo "make demo       install, then certify street scenes with the packaged models"
	@echo "make test       install what the tests need, then run them"
	@echo "make test-slow  the tests that take minutes"
	@echo "make golden     every comparison with the published implementations"
	@echo "make fuzz       hostile input, with 2000 tries for each thing that is parsed"
	@echo "make gpu        on a GPU: the tests that need one, then its speed at full size"
	@echo "make check      formatting, lint, types, walls, tests: what CI runs"
	@echo "make wheel-test build the wheel, install it afresh with a plugin of others, certify with it"
	@echo "make docs       build the documentation into site/"
	@echo "make bench      measure speed (benchmarks/)"

$(VENV)/.installed: pyproject.toml
	@echo "installing smoothseg into $(VENV): about 5 GB with PyTorch, some minutes"
	@$(call install,)
	@touch $@

$(VENV)/.installed-dev: pyproject.toml
	@echo "installing smoothseg and its development tools into $(VENV): about 5 GB with PyTorch, some minutes"
	@$(call install,[dev])
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml
	@echo "installing smoothseg and its documentation tools into $(VENV)"
	@$(call install,[docs])
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed
	@$(BIN)/smoothseg certify --config examples/demo.yaml --output runs/demo

test: $(VENV)/.installed-dev
	@$(PYTEST)

test-slow: $(VENV)/.installed-dev
	@$(PYTEST) -m slow

golden: $(VENV)/.installed-dev
	@$(PYTEST) -m golden

fuzz: export SMOOTHSEG_FUZZ_EXAMPLES ?= 2000
fuzz: $(VENV)/.installed-dev
	@$(PYTEST) tests/hostile
	@if $(BIN)/python -c "import atheris" 2> /dev/null; then $(BIN)/python tests/hostile/guided.py; fi

gpu: $(VENV)/.installed-dev
	@$(BIN)/python -m pytest -m gpu
	@$(BIN)/python -m benchmarks.gpu

check: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(PYTEST)

wheel-test: $(VENV)/.installed-dev
	@$(BIN)/python tests/wheel.py

docs: $(VENV)/.installed-docs
	@$(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-dev
	@$(BIN)/python -m benchmarks.statistics
	@$(BIN)/python -m benchmarks.power
	@$(BIN)/python -m benchmarks.sampling
	@$(BIN)/python -m benchmarks.full_size

clean:
	rm -rf $(VENV) site build dist .mypy_cache .ruff_cache .pytest_cache
