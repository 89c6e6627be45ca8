# selma: `make repro` computes everything, `make restore` fetches everything, `make test` checks it.
PYTHON ?= python3
VENV := .venv
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.PHONY: install repro restore test lint foundation

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[test]'
	touch $(STAMP)

repro: install  ## pull the released foundation, then really compute everything else
	dvc pull --quiet foundation/dvc.yaml
	selma check
	dvc repro

restore: install  ## fetch every released output instead of computing it
	dvc pull

test: install lint
	dvc pull --quiet foundation/dvc.yaml
	python -m pytest -n logical --maxprocesses 4 --dist loadfile

lint: install
	ruff check .
	mypy

foundation: install  ## rebuild the pocket world's own models from nothing (hours)
	dvc repro -f foundation/dvc.yaml
