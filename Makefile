# Everything sets itself up: a machine needs Python 3.11, git, make and a package index.
#   make demo [ARGS=...]     a running server with simulated docks
#   make test [ARGS=...]     all tests, on real servers
#   make check               what a reviewer should not have to say
#   make check-alerts        the alerts, by Prometheus' own tool
#   make api-lint            the OpenAPI document, by a linter of npm's
#   make fault [ARGS=...]    the fault tests in full size; needs an idle machine and most of an hour
#   make bench [ARGS=...]    the benchmarks
#   make audit               known weaknesses of the locked packages
#   make sbom                sbom.json: what the server is made of, in CycloneDX's format
#   make lock                compile both lock files again

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

# Python packages and programs, side by side; what is there already is not fetched again.
PROVIDE = $(PYTHON) -P cloudapi/embedded/programs.py

.PHONY: python packages setup demo test check check-alerts api-lint fault bench audit sbom lock

setup: python
	@$(PROVIDE) --packages requirements-dev.txt mosquitto mosquitto-clients redis postgresql postgresql-client caddy chromium

# Make starts it without a shell between, so that a signal reaches it.
demo: python
	@$(PROVIDE) --packages requirements.txt mosquitto
	@$(BIN)/python manage.py demo $(ARGS)

test: setup
	env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(ARGS)

packages: python
	@$(PROVIDE) --packages requirements-dev.txt

python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Python 3.11 or newer is needed; name one with: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	DEBUG=true $(BIN)/mypy .
	$(BIN)/lint-imports
	DEBUG=true $(BIN)/python manage.py check --fail-level WARNING
	@echo "manage.py check --deploy, in an environment like production's"
	@env DEBUG=false SECRET_KEY="$$($(RANDOM))$$($(RANDOM))" FIELD_ENCRYPTION_KEYS="$$($(RANDOM))" \
		ALLOWED_HOSTS=docks.example.com PUBLIC_URL=https://docks.example.com \
		DATABASE_URL=postgres://docks@127.0.0.1/docks REDIS_URL=redis://127.0.0.1 MQTT_URL=mqtts://127.0.0.1 \
		$(BIN)/python manage.py check --deploy --fail-level WARNING
	DEBUG=true $(BIN)/python manage.py makemigrations --check --dry-run
	DEBUG=true $(BIN)/python manage.py messages --check
	$(BIN)/python -m pytest -n0 -q tests/test_migrations.py

# deploy/alerts_test.yml says when they fire
check-alerts: setup
	@$(PROVIDE) promtool
	$(BIN)/python -m pytest -q -k prometheus_takes tests/cloudapi/monitoring/test_files.py

# needs Node.js
api-lint: packages
	DEBUG=true $(BIN)/python manage.py spectacular --validate --fail-on-warn --format openapi-json --file .cache/openapi.json
	npx --yes @redocly/cli@2.77.0 lint --config .redocly.yaml .cache/openapi.json

fault: setup
	FAULT_FULL=1 $(BIN)/python -m pytest -n0 -s -m fault $(ARGS)

bench: setup .cache/mqttasgi
	$(BIN)/python -m benchmarks $(ARGS)

# What the bridge is compared with; not in the lock files, for the server does not need it.
.cache/mqttasgi:
	$(BIN)/python -m pip install --quiet --no-deps --target $@ mqttasgi==2.0.0 python-dotenv==1.2.1 || { rm -rf $@; exit 1; }

# 32 random bytes in base64, the form of a Fernet key
RANDOM = $(BIN)/python -c 'import base64, secrets; print(base64.urlsafe_b64encode(secrets.token_bytes(32)).decode())'

# Tools that read the lock files; in an environment of their own, so that they are not part of what they look at.
TOOLS = .cache/tools/bin
.cache/tools:
	$(PYTHON) -m venv .cache/tools
	$(TOOLS)/pip install --quiet pip-audit cyclonedx-bom || { rm -r .cache/tools; exit 1; }

audit: .cache/tools
	$(TOOLS)/pip-audit --strict --disable-pip --require-hashes -r requirements.txt

sbom: .cache/tools
	$(TOOLS)/cyclonedx-py requirements requirements.txt --pyproject pyproject.toml --output-reproducible --of JSON -o sbom.json

PIP_COMPILE = .cache/lock/bin/pip-compile --quiet --no-header --generate-hashes --no-emit-index-url \
	--no-emit-find-links --no-emit-options --strip-extras --allow-unsafe pyproject.toml

lock:
	$(PYTHON) -m venv --clear .cache/lock
	.cache/lock/bin/pip install --quiet pip-tools
	$(PIP_COMPILE) --output-file requirements.txt
	$(PIP_COMPILE) --extra dev --constraint requirements.txt --output-file requirements-dev.txt
	rm -r .cache/lock
