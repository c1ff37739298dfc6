# Two commands for a fresh machine with Python 3.11+: `make proofs` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
OUT ?= build
# Spinning OpenMP threads slow small eigendecompositions tenfold on a busy machine.
export OMP_WAIT_POLICY = passive

# Both keep two cores busy with processes; more threads in each would only wait for each other.
proofs test: export OMP_NUM_THREADS = 1

.PHONY: proofs test slow bench figures lint readme clean
INSTALLED := .venv/installed

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11+ is needed, this is " + sys.version)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,concepts]'
	touch $@

proofs: $(INSTALLED)  ## check every claim on the fast budget, draw the figures
	$(BIN)/python -m figures --out $(OUT)/figures & drawing=$$!; \
	$(BIN)/proofs-check --budget fast --jobs 2 --json $(OUT)/report.json --html $(OUT)/report; \
	verdict=$$?; wait $$drawing && exit $$verdict

test: $(INSTALLED)  ## pytest as proof validation
	$(BIN)/python -m pytest -n 2 --dist loadfile

slow: $(INSTALLED)  ## the tests and claims that need more than the fast budget
	$(BIN)/python -m pytest -m slow
	$(BIN)/proofs-check --budget full

bench: $(INSTALLED)  ## ratios against peers and floors, measured in one run
	$(BIN)/python -m pytest tests/benchmarks -m '' --benchmark-disable-gc -s

figures: $(INSTALLED)
	$(BIN)/python -m figures --out $(OUT)/figures

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

readme: $(INSTALLED)  ## rewrite the generated parts of the README
	$(BIN)/proofs-check --readme README.md

clean:
	rm -rf $(OUT) .venv
