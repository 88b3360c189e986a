# `make run` and `make test` work from a bare clone with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
EXPERIMENT ?= random_computation
BIN := $(VENV)/bin
TESTS := $(BIN)/python -m pytest -q
INTERPRETED := tests/kernels/interpreted

.PHONY: run install test interpreted fast compile-gpu lint clean

run: install
	$(BIN)/python -m launch.run --experiment=$(EXPERIMENT)

test: lint interpreted
	$(TESTS) -n 2 --ignore=$(INTERPRETED)

# GPU kernels on the CPU: triton reads this variable when it is imported.
interpreted: install
	TRITON_INTERPRET=1 $(TESTS) -n 2 $(INTERPRETED)

# Without GPU kernels, and the run of every experiment at its smallest size.
fast: install
	$(TESTS) -n 2 --ignore=tests/launch/experiments_test.py --ignore=$(INTERPRETED) --ignore=tests/kernels/compiled

# Whole programs compiled for an H200, not run on one. Downloads 383 MB.
compile-gpu: install
	$(BIN)/python -m pip install -q --no-deps jax-cuda13-pjrt -c constraints.txt
	JAX_PLATFORMS=cpu JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 timeout 600 $(BIN)/python -m tests.kernels.compiled.whole_program

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python >= 3.11 is needed: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -e '.[dev]' -c constraints.txt
	# It lets jax_triton be imported; what it depends on is for running on a GPU.
	test "$$(uname)" != Linux || $(BIN)/python -m pip install -q --no-deps jax-cuda13-plugin -c constraints.txt
	touch $@

clean:
	rm -rf $(VENV) build *.egg-info
