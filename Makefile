# Every target sets up the environment it needs; a second call reuses it.
# Another interpreter: make PYTHON=python3.12 test
PYTHON ?= python3
VENV := .venv
READY := $(VENV)/.ready

# What computes, and so may round differently on another processor.
COMPUTING := tests/passes tests/rewriter/warm tests/rewriter/calibration tests/rewriter/demo tests/export/test_parity.py

.PHONY: demo test test-older lint clean

demo: $(READY)
	$(VENV)/bin/rewrite-model demo

# One thread in each of the two worker processes: tests on small tensors gain nothing from more.
test: $(READY)
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n 2

# The kernels of older processors, without vector instructions and a compiler, then with AVX2 alone.
test-older: $(READY)
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=SSE41 MKL_ENABLE_INSTRUCTIONS=SSE4_2 CC= OMP_NUM_THREADS=1 \
		$(VENV)/bin/python -m pytest -n 2 $(COMPUTING)
	ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 OMP_NUM_THREADS=1 \
		$(VENV)/bin/python -m pytest -n 2 $(COMPUTING)

lint: $(READY)
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist demo-out *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "expected Python 3.11 or newer; found %d.%d; name another one, such as make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@
