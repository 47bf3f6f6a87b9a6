#!/usr/bin/env bash
# The GPU checks in one go: tests on the device, auditkit beside Opacus and Captum on it, and the demo end to end.
#
#   benchmarks/gpu.sh [--device cuda|cpu] [--wheels DIR] [--out DIR]
#   benchmarks/gpu.sh --fetch-wheels DIR
#
# Made for a machine with PyTorch and no network: what is missing is installed from the wheels in DIR (default .whl),
# which --fetch-wheels downloads beforehand (about 15 MiB). Under 8 minutes on one H100. --device cpu rehearses it;
# PATIENCE=10 multiplies the limits of its parts, for a slow or busy machine.
# Results: OUT (default benchmarks/results): gpu-<device>.json, and logs of each part. Exit 1 where a part failed.
set -uo pipefail
cd "$(dirname "$0")/.."
device=cuda wheels=.whl out=benchmarks/results python=${PYTHON:-python3}

# Of what auditkit needs, what a machine with PyTorch, pandas and scikit-learn lacks; hatchling builds auditkit itself.
packages=(captum==0.9.0 fairlearn==0.15.0 opacus==1.6.0 narwhals annotated-types typing-inspection hatchling
  trove-classifiers pathspec pluggy)
# tokenizers is for the language models of auditkit's own.
compiled=(pydantic pydantic-core tokenizers)

fetch() {
  mkdir -p "$1"
  local name pins=()
  for name in "${compiled[@]}"; do
    pins+=("$name==$("$python" -c "from importlib.metadata import version; print(version('$name'))")") || exit 1
  done
  "$python" -m pip download -q --no-deps -d "$1" "${packages[@]}" || exit 1
  "$python" -m pip download -q --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
    --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d "$1" \
    "${pins[@]}" || exit 1
  du -sh "$1"
}

while [ $# -gt 0 ]; do
  case $1 in
    --device) device=$2; shift 2 ;;
    --wheels) wheels=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --fetch-wheels) fetch "$2"; exit ;;
    *) echo "gpu.sh: unknown option $1; see its first lines." >&2; exit 2 ;;
  esac
done
mkdir -p "$out"

if ! "$python" -c 'import captum, opacus, fairlearn, pydantic, tokenizers; from importlib.metadata import version; version("auditkit")' 2>/dev/null; then
  [ -d "$wheels" ] || { echo "gpu.sh: no wheels in $wheels; fetch them first: benchmarks/gpu.sh --fetch-wheels $wheels" >&2; exit 2; }
  site=$(mktemp -d)
  export PYTHONPATH=$site PYTHONNOUSERSITE=1
  install=("$python" -m pip install -q --no-index --no-deps --no-compile --disable-pip-version-check --target "$site")
  "${install[@]}" "$wheels"/*.whl || exit 1
  "${install[@]}" --no-build-isolation . || exit 1
fi

failed=0
part() {  # part NAME SECONDS COMMAND...: run it, keep its log, and go on whatever comes of it
  local name=$1 limit=$(($2 * ${PATIENCE:-1})) started=$SECONDS code; shift 2
  timeout "$limit" "$@" >"$out/gpu-$name.log" 2>&1; code=$?
  echo "$name: exit $code after $((SECONDS - started)) s"
  [ $code -eq 0 ] || { failed=1; tail -25 "$out/gpu-$name.log"; }
}

export AUDITKIT_DEVICE=$device PYTHONUNBUFFERED=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-4}
[ "$device" = cuda ] && nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader
part tests 150 "$python" -m pytest -q -p no:cacheprovider -o filterwarnings= -m gpu tests/gpu
demo=$(mktemp -d)
# The demo's verdict is fail (exit 1): the model is meant to be unfair. Its report must be there, and complete.
part demo 150 bash -c "$python -m auditkit demo --device $device --out $demo/run; [ \$? -le 1 ] && test -s $demo/run/report.html"
part benchmark 170 "$python" benchmarks/gpu.py --device "$device" --out "$out"
[ -f "$demo/run/results.json" ] && "$python" - "$demo/run/results.json" <<'PYTHON'
import json, sys
report = json.load(open(sys.argv[1]))
seconds = {outcome["auditor"]: outcome["seconds"] for outcome in report["outcomes"]}
print("demo:", report["verdict"], "on", report["environment"]["device"], seconds)
assert not [outcome for outcome in report["outcomes"] if outcome["error"]]
PYTHON
exit $failed
