# `make demo` and `make test` work on a machine with nothing but Python (3.11 or newer) and make.
PYTHON ?= python3
VENV ?= .venv
READY = $(VENV)/.ready

.PHONY: demo test check install

demo: install  ## a first run, half a minute
	$(VENV)/bin/trimtab run digits
	@echo; echo "To go on in this terminal:  . $(VENV)/bin/activate"

test: install  ## the whole test suite
	$(VENV)/bin/python -m pytest

check: install  ## format, lint, types, fast tests: before every commit
	scripts/check

install: $(READY)

$(READY): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "$(PYTHON) is older than 3.11; expected 3.11 or newer; run make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint requirements.lock --editable '.[train,dev]'
	@touch $(READY)
