# make demo    train, export, learn in place on an emulated board                     -> out/demo/report.html
# make fast    the tests that take about a minute
# make test    everything that CI runs                                                 (a quarter of an hour on two cores)
# make check   ruff and mypy only
# make exact   compare all engines after each of 500 learning steps
# make results the pages of docs/results, README's tables and the pictures, from the rows in results/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

.PHONY: demo fast test pytest check exact results c-test install clean

demo: install
	$(BIN)/metabit demo -o out/demo

fast: install
	$(BIN)/python -m pytest -q -m fast

# All three at once: mypy and the sanitizers' build leave a core idle.
test: install
	$(MAKE) -j 3 check c-test pytest

pytest: install
	$(BIN)/python -m pytest -q -n 2

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

exact: install
	$(BIN)/metabit verify --bits 2,4,8 --steps 500

results: install
	$(BIN)/python benchmarks/pages.py

# The C library with warnings as errors, then its own tests under AddressSanitizer and UndefinedBehaviorSanitizer.
c-test: install
	$(BIN)/cmake -S runtime -B build/c -G Ninja -DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja -DMETABIT_SANITIZE=ON -DMETABIT_TESTS=ON -DCMAKE_COMPILE_WARNING_AS_ERROR=ON -DCMAKE_C_FLAGS_RELEASE=-O1
	MAKEFLAGS= $(BIN)/cmake --build build/c -- --quiet
	$(BIN)/ctest --test-dir build/c --output-on-failure --parallel 2

install: $(INSTALLED)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# Installs again when the build or a C file changes. Python files are used where they lie. pip compiles one module after the other,
# compileall on all cores; its status counts files of other packages that are no Python.
$(INSTALLED): $(VENV)/bin/python pyproject.toml CMakeLists.txt runtime/CMakeLists.txt $(wildcard runtime/src/* runtime/field/* runtime/host/* runtime/include/* runtime/python/* train/rule/native/*)
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile "torch>=2.6,<2.14"
	$(BIN)/python -m pip install --disable-pip-version-check --no-compile -e ".[test]"
	$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true
	touch $@

clean:
	rm -rf build out $(INSTALLED)
