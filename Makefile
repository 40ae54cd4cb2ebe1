# Every target sets up its own .venv first: CPU torch 2.13.0 and dync, editable. Safe to run twice.
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3; do \
	"$$p" -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo "$$p"; break; }; done)
VENV := .venv
PY := $(VENV)/bin/python
JOBS ?= 2
STAMP := $(VENV)/.ready

.PHONY: demo test test-all check golden bench wheel venv typing clean

demo: venv
	$(PY) -m dync.models.demo

test: venv
	$(PY) -m pytest -q -n $(JOBS) --maxschedchunk=4

test-all: venv
	$(PY) -m pytest -q -n $(JOBS) --maxschedchunk=4 --slow

check: venv typing
	$(PY) -m ruff check .
	$(PY) -m pyright --pythonpath $(PY) --project .typing

golden: venv
	$(PY) -m pytest -q --update-golden

bench: venv
	$(PY) -m benchmarks

wheel: venv
	rm -rf build dist
	$(PY) -m build -q --wheel --outdir dist .

venv: $(STAMP)

# torch first and by version alone, so that pip takes the wheel that its own index settings offer (a CPU one where there is one).
$(STAMP): pyproject.toml
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 with venv found; give one: make PYTHON=/path/to/python"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q torch==2.13.0
	$(PY) -m pip install -q -e ".[capture,onnx,tvm,mlir,models,dev]"
	touch $@

# pyright cannot see that passes/ backends/ models/ are dync.passes, dync.backends, dync.models: a tree of links shows it.
typing:
	rm -rf .typing && mkdir .typing
	ln -s ../pyproject.toml .typing/
	cp -rs $(CURDIR)/dync .typing/dync
	cp -rs $(CURDIR)/passes $(CURDIR)/backends $(CURDIR)/models .typing/dync/

clean:
	rm -rf $(VENV) .typing build dist *.egg-info
