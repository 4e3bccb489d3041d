# minigrad: every target makes what it needs and can be repeated.
PYTHON ?= python3.11
BIN := .venv/bin

BUILD := pyproject.toml setup.py $(wildcard csrc/*) minigrad/kernels/_binding.pyx minigrad/kernels/kernels.def

.PHONY: train test lint bench sanitize emulate clean

train: .venv/.installed  ## train an MLP on the bundled digits; prints and saves the result
	$(BIN)/python examples/digits.py

test: .venv/.tested  ## the whole suite on the active target, kernels and operations on every target
	$(BIN)/python -m pytest --numprocesses auto --dist worksteal

lint: .venv/.tested  ## style, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/.tested  ## every kernel and the eager path beside NumPy, PyTorch and JAX; into runs/bench
	$(BIN)/python benchmarks/run.py --save runs/bench
	$(BIN)/python benchmarks/threads.py

sanitize: .venv/.tested  ## our C under AddressSanitizer and UndefinedBehaviorSanitizer
	.ci/sanitize

emulate: .venv/.tested  ## the avx512 target on a processor without it
	.ci/emulate

.venv:
	$(PYTHON) -m venv .venv || python3 -m venv .venv

.venv/.installed: $(BUILD) | .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[plot]'
	touch $@

.venv/.tested: $(BUILD) | .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,dev]'
	touch .venv/.installed $@

clean:  ## everything that can be made again
	rm -rf .venv build dist runs *.egg-info minigrad/*.so minigrad/kernels/*.so
