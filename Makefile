# `make run` and `make test` work from a bare clone with Python 3.11 or newer.
PYTHON ?= python3
VENV ?= .venv
EXPERIMENT ?= random_computation
# How often `make soak` kills its runs; the tests do it 3 times.
KILLS ?= 50
# A block that is far too large keeps the compiler busy for many minutes.
TPU_SECONDS ?= 600
BIN := $(VENV)/bin
TESTS := $(BIN)/python -m pytest -q
INTERPRETED := tests/kernels/interpreted

.PHONY: run install test interpreted fast soak lint compile-gpu compile-tpu clean

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

# Small runs killed at random moments lose nothing.
soak: install
	SIMPLEX_KILLS=$(KILLS) SIMPLEX_SEED=$$(date +%s) $(TESTS) -n 0 -s tests/trainers/faults -k kills

# Whole programs compiled for an H200, not run on one. Downloads 383 MB.
compile-gpu: install
	$(BIN)/python -m pip install -q --no-deps jax-cuda13-pjrt -c constraints.txt
	JAX_PLATFORMS=cpu JAX_SKIP_CUDA_CONSTRAINTS_CHECK=1 timeout 600 $(BIN)/python -m tests.kernels.compiled.whole_program

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Compiles the TPU kernels for TPUs that are not here. The compiler, libtpu, has
# the terms of Google Cloud and takes 700 MB: it is installed for this alone.
compile-tpu: install
	$(BIN)/python -m pip install -q libtpu -c constraints.txt
	for topology in v5e:2x2 v5p:2x2x1 v6e:2x2; do \
	  timeout $(TPU_SECONDS) $(BIN)/python -m tests.kernels.compile_tpu \
	    $$topology || exit 1; \
	done

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
