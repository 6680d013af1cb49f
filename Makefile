PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help install demo test test-fast check lint editor bench image clean

help:
	@echo "make demo    the whole loop on this machine: Label Studio, Ray, clicks, retraining (ARGS=... is passed on)"
	@echo "make test    every test: those that start no server on all cores, then those that do, one by one"
	@echo "make test-fast  the tests that start no server and do not compute for long, on all cores"
	@echo "make check   formatting, lint and types, then every test"
	@echo "make editor  the browser tests with earlier versions of Label Studio, each in an environment of its own"
	@echo "make image   the image that examples/*.yaml name, with Docker (IMAGE=registry/name:tag)"
	@echo "make bench   what a click, an image and a training step cost: the table of docs/performance.md"

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "clickpose needs Python 3.11 or newer; say make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[demo,dev]'
	touch $@

demo: install
	$(BIN)/clickpose demo $(ARGS)

unexport PYTHONDONTWRITEBYTECODE  # else every test process compiles all tests again

NONE_IS_FINE := || test $$? -eq 5  # ARGS may name tests of one kind only

ON_ALL_CORES := --numprocesses $(shell expr $$(nproc) + 1) --dist worksteal  # one more: some tests wait

test: install
	$(BIN)/python -m pytest -m "not cluster" $(ON_ALL_CORES) $(ARGS) $(NONE_IS_FINE)
	$(BIN)/python -m pytest -m cluster $(ARGS) $(NONE_IS_FINE)

test-fast: install
	$(BIN)/python -m pytest -m "not cluster and not slow" $(ON_ALL_CORES) $(ARGS) $(NONE_IS_FINE)

check: lint test

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

EARLIER := 1.22.0 1.21.0
BROWSER_TESTS := tests/integrations/test_label_studio_editor.py tests/integrations/test_label_studio_drag.py

editor: install
	for version in $(EARLIER); do \
		folder=$(VENV)/label-studio-$$version; \
		test -x $$folder/bin/label-studio || { \
			$(PYTHON) -m venv $$folder && $$folder/bin/pip install --quiet label-studio==$$version; } || exit 1; \
		TEST_LABEL_STUDIO=$$folder/bin/label-studio $(BIN)/python -m pytest $(BROWSER_TESTS) || exit 1; \
	done

BENCHMARKS := full refine demo parts scaling training_step

bench: install
	for name in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; done
	if $(BIN)/python -c 'import sys, torch; sys.exit(not torch.cuda.is_available())'; then PYTHON=$(BIN)/python sh benchmarks/gpu.sh; fi
	$(BIN)/python -m benchmarks.table
	@echo "not run: click_economy (needs data), collect, prelabel, serve_load, training_memory (take minutes);"
	@echo "each is a module: python -m benchmarks.NAME"

IMAGE ?= my-registry/clickpose:0.1.0

image:
	docker build -f examples/Dockerfile -t $(IMAGE) .

clean:
	rm -rf $(VENV) build dist *.egg-info
