#!/usr/bin/env bash
# Pins again what pyproject.toml asks for: requirements.lock, ci/run.lock and ci/torch-pypi.lock, with hashes.
#
#   ci/lock.sh TORCH [FLAG...]     TORCH: the requirement of torch, as torch==2.13.0
#
# A pin of today stays where it still fits. FLAGs go to uv: --upgrade raises all, --upgrade-package numpy one.
set -euo pipefail
cd "$(dirname "$0")/.."
torch=$1; shift
flags=("$@")
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
python3 -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install --quiet uv
echo "$torch" >"$tools/torch"

compile() {  # compile LOCK ARGUMENT...: write LOCK, whose first lines of comment stay
  local lock=$1; shift
  cp "$lock" "$tools/lock"  # uv reads the pins of today from the file that it writes
  "$tools/venv/bin/uv" pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
    --generate-hashes --constraint "$tools/torch" --output-file "$tools/lock" "${flags[@]}" "$@" </dev/null
  { sed -n '/^#/p' "$lock"; cat "$tools/lock"; } >"$tools/new"
  cp "$tools/new" "$lock"
}

compile ci/torch-pypi.lock "$tools/torch"
# torch and what it brings are in the locks of ci/torch-*.lock.
mapfile -t without < <(grep -oE '^(torch|triton|nvidia-[a-z0-9-]+|cuda-[a-z0-9-]+)' ci/torch-pypi.lock | sed 's/^/--no-emit-package=/')
compile requirements.lock pyproject.toml --extra dev "${without[@]}"
flags=(--constraint requirements.lock)  # what is needed at run time has the pins of requirements.lock
compile ci/run.lock pyproject.toml --extra sign --extra pdf "${without[@]}"
