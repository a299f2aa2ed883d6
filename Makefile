# histolab-lite: `make help` lists the commands.
# PYTHON picks the interpreter that makes the environment, VENV the folder it is made in, DEMO what `make demo` starts.

PYTHON ?= python3
VENV ?= .venv
DEMO ?=
BIN := $(VENV)/bin
# A file's tests stay in one process, which shares what they prepare.
PYTEST = $(BIN)/python -m pytest --numprocesses logical --maxprocesses 8 --dist loadfile --quiet

LESSONS = $(strip $(BIN)/python -m tools.lessons $(if $(ONLY),--only "$(ONLY)") $(if $(DATA),--data "$(DATA)") \
	$(if $(PARAMS),--params "$(PARAMS)") $(if $(OUT),--out "$(OUT)") $(if $(JOBS),--jobs $(JOBS)))

.DEFAULT_GOAL := help
.PHONY: help tutorial check claims demo lint test test-all test-failed test-gpu audit site notebooks bench doctor
.DELETE_ON_ERROR:

help: ## list the commands
	@echo "histolab-lite"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo
	@echo "  ONLY=02 DATA=glas PARAMS=notebooks/full.yaml OUT=dir narrow or change 'make tutorial'"
	@echo "  JOBS=1 runs one lesson at a time, in place of two"
	@echo "  EARLIER=runs/… makes 'make check' and 'make claims' take that run instead of running"
	@echo "  UPDATE=1 makes 'make check' propose new numbers"
	@echo "  PYTHON=python3.12 VENV=dir choose the interpreter and the environment"

tutorial: $(VENV)/.installed ## run the lessons in order, write copies, their numbers and a website to runs/
	$(LESSONS) --site

check: $(VENV)/.installed ## run the lessons as 'make tutorial' does and compare their numbers with notebooks/expected.json
	$(LESSONS) $(if $(UPDATE),--update,--check) $(if $(EARLIER),--earlier "$(EARLIER)")

claims: $(VENV)/.installed ## run the lessons over five seeds, for hours, and write into docs/claims.md which of the papers' claims hold
	$(LESSONS) $(if $(EARLIER)$(PARAMS),,--params notebooks/claims_run.yaml) --claims $(if $(EARLIER),--earlier "$(EARLIER)")

demo: $(VENV)/.installed-demo ## try the methods in the browser on this machine; DEMO=cvm and so on for one, PORT=7861
	$(BIN)/python -m demos$(if $(DEMO),.$(DEMO)) $(if $(PORT),--port "$(PORT)")

lint: $(VENV)/.installed-dev ## look for faults of style and of types
	$(BIN)/ruff check .
	$(BIN)/mypy

test: $(VENV)/.installed-dev ## run the quick tests, on all cores
	$(PYTEST) -m "not slow and not browser and not real_data and not lesson and not gpu"

test-all: $(VENV)/.installed-dev ## run every test: browsers, real tissue, every lesson at smoke size
	$(PYTEST) -m "not gpu"

test-failed: $(VENV)/.installed-dev ## run again, alone and one after the other, the tests that failed last time
	$(BIN)/python -m pytest --last-failed --last-failed-no-failures none --quiet -m "not gpu"

test-gpu: $(VENV)/.installed-dev ## run the tests of the kernels that need a CUDA device
	$(BIN)/python -m pytest -m gpu tests/kernels

audit: $(VENV)/.installed-dev ## look for known vulnerabilities of what is installed
	$(BIN)/python .ci/audit.py

site: $(VENV)/.installed-dev ## build the website from the committed lessons, in runs/site
	$(BIN)/python -m tools.lessons.site

notebooks: $(VENV)/.installed ## re-execute the committed lessons in place, at tutorial size
	$(LESSONS) --in-place

bench: $(VENV)/.installed-bench ## time the kernels beside the libraries people use today; ONLY=k-means times one script
	$(BIN)/python -m benchmarks $(if $(ONLY),--only "$(ONLY)") $(if $(OUT),--out "$(OUT)")

doctor: $(VENV)/.installed ## say what is installed, which device and data are found, and what is missing
	$(BIN)/python -m histolab_lite.doctor

# Installing happens again only when pyproject.toml has changed.
$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[lessons,docs]"
	@touch $@

$(VENV)/.installed-demo: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[lessons,docs,demos]"
	@touch $(VENV)/.installed $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[lessons,demos,docs,dev]"
	@touch $(VENV)/.installed $(VENV)/.installed-demo $@

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable ".[lessons,docs,bench]"
	@touch $(VENV)/.installed $@

$(BIN)/python:
	@command -v "$(PYTHON)" >/dev/null || { echo "No '$(PYTHON)' here. Install Python 3.11 or newer, or name it: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "histolab-lite needs Python 3.11 or newer, and '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1). Name a newer one: make PYTHON=python3.11" >&2; exit 1; }
	"$(PYTHON)" -m venv "$(VENV)"
