# Two commands on a machine that has only Python 3.11 and make:
#   make eval   own environment, pinned install, an evaluation on the embedded data: table, record, plots
#   make test   the same environment, then everything CI runs
# and `make check`: the same with documentation, duplicates and known faults of dependencies.
PYTHON ?= python3.11
VENV ?= .venv
METHOD ?= fami
RESULTS ?= results
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: eval test check test-long fuzz coverage mutation duplicates audit page-test lint types unit bench reports docs clean

eval: $(STAMP)
	$(BIN)/harness eval --method $(METHOD) --split val --results $(RESULTS)

test: lint types unit

check: lint types unit docs duplicates audit  # the wheel, doctests and a search for secrets are among the tests

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/pytest -n 2 -m "not long"  # a thread per worker: more get into each other's way

QUALITY := $(VENV)/.quality

$(QUALITY): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[quality]"
	touch $(QUALITY)

duplicates: $(QUALITY)  # eight lines that stand twice
	$(BIN)/pylint --disable=all --enable=duplicate-code --min-similarity-lines=8 --ignore-imports=y \
	    --ignore-signatures=y --ignore-docstrings=y --score=n harness baselines

audit: $(QUALITY)  # known faults of the pinned versions; it says so where the service that knows them is out of reach
	@$(BIN)/pip-audit --no-deps --disable-pip --requirement constraints.txt --progress-spinner off --timeout 10 \
	    > $(VENV)/audit.txt 2>&1; code=$$?; cat $(VENV)/audit.txt; \
	if grep -qE "could not be audited|ConnectionError|ServiceError|Timeout" $(VENV)/audit.txt; \
	then echo "audit: not made, or not of every package: see above"; else exit $$code; fi

coverage: $(QUALITY)  # branches of data sets, scoring, predictions and records: fails where one is below 95 %
	OMP_NUM_THREADS=1 $(BIN)/coverage run -m pytest -m "not long" $(COVERED)
	$(BIN)/coverage report
	$(BIN)/coverage json --quiet -o $(VENV)/coverage.json
	$(BIN)/python tests/branch_coverage.py $(VENV)/coverage.json

COVERED := $(wildcard tests/test_scoring_*.py tests/test_slice*.py tests/test_synthtrack*.py) $(addprefix tests/test_, \
    records.py predictions.py prediction_import.py submissions.py check.py convert.py layouts.py posetrack.py \
    datasets_contract.py images.py hostile_files.py statistics.py diagnosis.py motion.py comparison.py \
    uncertainty.py arms.py bones.py localisation.py score_command.py tampering.py probes.py typed_json.py fuzz.py) harness/datasets harness/predictions harness/scoring harness/records.py

mutation: $(QUALITY)  # do the tests notice when a kernel of scoring is changed? What survives is in docs/reliability.md
	OMP_NUM_THREADS=1 $(BIN)/mutmut run
	$(BIN)/mutmut results

test-long: $(STAMP)
	$(BIN)/pytest -m long

fuzz: $(STAMP)  # 10,000 spoiled files, seeded; prints how many of each kind were tried and refused
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/test_fuzz.py -m long -s

page-test: $(STAMP)  # the HTML page in a real browser; Chromium is the system's: apt-get install chromium
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[page-test]"
	OMP_NUM_THREADS=1 $(BIN)/pytest tests/test_page_browser.py

bench: $(STAMP)
	for script in benchmarks/[a-z]*.py; do echo "== $$script"; $(BIN)/python $$script; done

$(STAMP): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[test]"
	touch $(STAMP)

reports: $(STAMP)
	$(BIN)/harness table --results results/reference --format markdown > reports/reference.md
	$(BIN)/harness table --results results/reference --format markdown --by-slice >> reports/reference.md
	$(BIN)/harness table --results results/reference --format markdown --by-joint >> reports/reference.md
	$(BIN)/harness table --results results/reference --format markdown --cost >> reports/reference.md
	$(BIN)/harness table --results results/reference --verify > /dev/null
	$(BIN)/harness report plots hrnet fami dcpose copy_previous mean_pose --results results/reference --predictions -o reports/reference
	$(BIN)/harness report study reports/claims.toml --missing-ok --results results/reference --results results/claims
	$(BIN)/harness report study reports/adaptation.toml --results results/claims
	$(BIN)/harness report probes --results results/probes -o reports/probes
	$(BIN)/python docs/generate.py

docs: $(STAMP)
	$(BIN)/python docs/generate.py
	$(BIN)/mkdocs build --strict --quiet --site-dir site

clean:
	rm -rf $(VENV) build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
