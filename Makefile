# make demo            reconstruct the public-domain portrait of an astronaut into out/demo/
# make demo PHOTO=me.jpg   … or one's own photograph
# make test            lint, types, import contracts and the default test suite
PHOTO ?=
OUT ?= out/demo
MAPS ?= 1024
VENV := .venv/bin

.PHONY: help demo test test-slow lint format bench clean
help:
	@sed -n 's/^# //p' Makefile

.PHONY: environment environment-dev
environment:
	@packaging/setup.sh blend,demo
environment-dev:
	@packaging/setup.sh blend,demo,dev

demo: environment
	@$(VENV)/python packaging/demo.py --photo "$(PHOTO)" --out "$(OUT)" --maps $(MAPS)

lint: environment-dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

test: lint
	$(VENV)/python -m pytest -m "not slow and not gui and not gpu"

test-slow: environment-dev
	$(VENV)/python -m pytest -m "slow and not gui and not gpu"

format: environment-dev
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

bench: environment-dev
	$(VENV)/python bench/path.py

clean:
	rm -rf .venv out build dist *.egg-info
