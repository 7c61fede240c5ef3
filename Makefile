# Every target sets up what it needs in a virtual environment below .venv/. That of the main job,
# .venv/main, holds TensorFlow and NumPy alone until a target asks for all that the tests need.
PYTHON ?= python3
# TensorFlow 2.15 needs Python 3.9 to 3.11.
PYTHON_OLD ?= python3.11
VENV := .venv
TFJS := @tensorflow/tfjs@4.22.0
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: check regression test tfjs kernels lint fuzz bench bench-diagnosis compat mutants dist clean

check: $(VENV)/main/.base  ## the main job: a real SimpleRNN held against its replay
	$(VENV)/main/bin/rnn-parity check

regression: $(VENV)/main/.base  ## the recorded cases, checked again; the reports are in build/
	mkdir -p build
	$(VENV)/main/bin/rnn-parity check fixtures/cases -o build/parity.json -o build/parity.txt

test: $(VENV)/main/.done  ## all tests
	$(VENV)/main/bin/python -m pytest -n auto

# Node and npm must be there; `make test` runs these tests too, once TensorFlow.js is installed.
tfjs: $(VENV)/main/.done $(VENV)/tfjs/.done  ## TensorFlow.js, run by Node, and its tests
	$(VENV)/main/bin/python -m pytest $(wildcard tests/implementations/test_tfjs*.py)

kernels: $(VENV)/main/.done  ## all tests and the recorded cases as other processors would round them
	$(VENV)/main/bin/python tests/kernels.py

lint: $(VENV)/main/.done  ## linter, formatter, type checker
	$(VENV)/main/bin/ruff check .
	$(VENV)/main/bin/ruff format --check .
	$(VENV)/main/bin/mypy

# Which modules are changed, and which tests can notice, stands in pyproject.toml.
mutants: $(VENV)/mutants/.done  ## small changes of the core, one at a time: what no test notices
	$(VENV)/mutants/bin/python tests/mutants.py

fuzz: $(VENV)/main/.done  ## 10,000 damaged files: crashes, silent passes, hangs, memory
	$(VENV)/main/bin/python tests/fuzz_files.py

# Under ten minutes; `--quick` and `--only PART` take less, `--clock cpu` is for a busy machine.
bench: $(VENV)/bench/.done  ## speed and memory, side by side with other implementations
	PYTHONPATH=tests $(VENV)/bench/bin/python tests/benchmarks/bench.py --json bench.json $(BENCH)

bench-diagnosis: $(VENV)/bench/.done  ## how well mistakes are found and named
	PYTHONPATH=tests $(VENV)/bench/bin/python tests/benchmarks/bench_diagnosis.py
	PYTHONPATH=tests:tests/bounds $(VENV)/bench/bin/python tests/benchmarks/bench_cell_state.py

# The tests under other releases of Keras; then a case of each recorded here and checked there.
RECORD := record --mask random --initial-state random -q
compat: $(VENV)/main/.done $(VENV)/tf215/.done $(VENV)/tf216/.done $(VENV)/tf_keras/.done
	$(VENV)/tf215/bin/python tests/compat.py
	$(VENV)/tf216/bin/python tests/compat.py
	TF_USE_LEGACY_KERAS=1 $(VENV)/tf_keras/bin/python tests/compat.py
	mkdir -p build
	$(VENV)/tf215/bin/rnn-parity $(RECORD) -o build/old.npz
	$(VENV)/main/bin/rnn-parity check build/old.npz -q
	$(VENV)/main/bin/rnn-parity $(RECORD) -o build/new.npz
	$(VENV)/tf215/bin/rnn-parity check build/new.npz -q

# A wheel and a source distribution; the wheel is built from the latter, and then has to work alone.
dist: $(VENV)/build/.done  ## build what is published, and try it in an empty environment
	rm -rf dist
	mkdir -p build
	$(VENV)/build/bin/python -m build --outdir dist . > build/dist.txt 2>&1 \
		|| { cat build/dist.txt; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)/installed
	@echo "Setting up $(VENV)/installed, which may take minutes: pip install dist/*.whl"
	$(VENV)/installed/bin/python -m pip install $(PIP_FLAGS) dist/*.whl
	$(VENV)/installed/bin/python -I tests/smoke.py dist

$(VENV)/main/.base: WHAT = -e .
$(VENV)/main/.done: WHAT = -e .[test,lint,export,onnx,litert,jax,openvino,legacy,html,junit]
$(VENV)/mutants/.done: WHAT = -e .[mutants]
$(VENV)/bench/.done: WHAT = -e .[bench]
$(VENV)/build/.done: WHAT = build
$(VENV)/tf215/.done: WHAT = -e .[test] tensorflow==2.15.1
$(VENV)/tf216/.done: WHAT = -e .[test] tensorflow==2.16.2
$(VENV)/tf_keras/.done: WHAT = -e .[test] tensorflow==2.21.0 tf_keras==2.21.0

$(VENV)/tf215/.done $(VENV)/tf216/.done: PYTHON = $(PYTHON_OLD)

define install
	@echo "Setting up $(VENV)/$*, once, which may take minutes: pip install $(WHAT)"
	@$(PYTHON) -m venv $(VENV)/$*
	@$(VENV)/$*/bin/python -m pip install $(PIP_FLAGS) $(WHAT)
	@touch $@
endef

# The environment of the main job grows into that of the tests.
$(VENV)/main/.done: $(VENV)/main/.base
$(VENV)/%/.base: pyproject.toml
	$(install)
$(VENV)/%/.done: pyproject.toml
	$(install)

$(VENV)/tfjs/.done:
	@echo "Setting up $(VENV)/tfjs, once, which may take minutes: npm install $(TFJS)"
	@mkdir -p $(VENV)/tfjs
	@npm install --silent --no-audit --no-fund --ignore-scripts --prefix $(VENV)/tfjs $(TFJS)
	@touch $@

clean:  ## remove everything that the targets above make
	rm -rf $(VENV) build dist *.egg-info bench.json
	rm -rf .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find rnn_parity tests -name __pycache__ -prune -exec rm -rf {} +
