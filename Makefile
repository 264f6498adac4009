# make demo            reconstruct the public-domain portrait of an astronaut into out/demo/
# make demo PHOTO=me.jpg   … or one's own photograph
# make extension       the zip that Blender installs: dist/likeness-<version>.zip
# make test            lint, types, import contracts and the default test suite
# make test-slow       renders and whole reconstructions
# make test-bpy        builders of Blender data and user interface in Blender 4.2 and 5.0 too
# make test-gui        from the zip to a relit head in the windows of real Blenders (as root, on Debian)
# make evaluation      sixty rendered cases, every method measured, out/evaluation/run/report.html; goes on where it
#                      stopped. DATA=../shared/data holds ict-facekit/, makehuman/ and hdri/ (docs/evaluation.md)
PHOTO ?=
DATA ?= data
CASES ?= --size 512 --samples 8
OUT ?= out/demo
MAPS ?= 1024
VENV := .venv/bin
IN_BLENDER := tests/scene $(addprefix tests/addon/test_,operators.py panels.py runtime.py)

.PHONY: help demo extension test test-slow test-bpy gui-environment test-gui lint format bench evaluation clean
help:
	@sed -n 's/^# //p' Makefile

.PHONY: environment environment-dev
environment:
	@packaging/setup.sh blend,demo
environment-dev:
	@packaging/setup.sh blend,demo,dev

demo: environment
	@$(VENV)/python packaging/demo.py --photo "$(PHOTO)" --out "$(OUT)" --maps $(MAPS)

extension: environment
	@$(VENV)/python packaging/build_extension.py

lint: environment-dev
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .
	$(VENV)/mypy
	$(VENV)/lint-imports

test: lint
	$(VENV)/python -m pytest -m "not slow and not gui and not gpu"

test-slow: environment-dev
	$(VENV)/python -m pytest -m "slow and not gui and not gpu"

test-bpy: environment-dev
	@packaging/bpy_versions.sh
	build/bpy-4.2/bin/python -m pytest -m "blend and not slow" $(IN_BLENDER)
	build/bpy-5.0/bin/python -m pytest -m "blend and not slow" $(IN_BLENDER)

gui-environment:
	@BLENDER=trixie packaging/gui/prepare.sh
	@BLENDER=sid packaging/gui/prepare.sh

test-gui: environment-dev gui-environment
	$(VENV)/python -m pytest -m gui tests/gui

format: environment-dev
	$(VENV)/ruff check --fix .
	$(VENV)/ruff format .

bench: environment-dev
	$(VENV)/likeness bench

EVALUATION := out/evaluation
$(EVALUATION)/open_eval.safetensors: | environment
	@mkdir -p $(EVALUATION)
	$(VENV)/python -m synthdata.headmodel --data "$(DATA)" --eval -o $@

evaluation: environment $(EVALUATION)/open_eval.safetensors
	$(VENV)/likeness evaluate make-cases -o $(EVALUATION)/cases --data "$(DATA)" $(CASES) --resume
	$(VENV)/likeness evaluate run $(EVALUATION)/cases -o $(EVALUATION)/run --jobs 2 \
		--head open:$(EVALUATION)/open_eval.safetensors

clean:
	rm -rf .venv out build dist *.egg-info
