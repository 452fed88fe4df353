# Two commands on a fresh machine with Python and make: `make demo` and `make test`.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test snippets docs lint clean

demo: .venv/installed
	rm -rf demo
	$(BIN)/quickstudy compare --out demo --steps 300 --episodes 200

test: .venv/tested lint
	$(BIN)/pytest -n 2 --dist loadfile

snippets: .venv/tested
	$(BIN)/pytest tests/test_snippets.py

docs: .venv/tested
	$(BIN)/sphinx-build -q -W --keep-going docs site
	@echo "the site: site/index.html"

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install -q -c constraints.txt "torch==2.13.0"
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install -q -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf .venv demo site docs/generated
