#!/bin/sh
# Everything that needs a GPU, in eight minutes at most: needs Python, torch >= 2.11, torchvision, numpy and pillow,
# no Ray and no network. Writes gpu.json to $OUT, or to benchmarks/results. To try it without a GPU:
#   sh benchmarks/gpu.sh --device cpu --quick
cd "$(dirname "$0")/.." || exit 1
folder="${OUT:-benchmarks/results}"
mkdir -p "$folder"
python="${PYTHON:-python3}"
"$python" -c "import safetensors" 2>/dev/null || PYTHONPATH="$PWD/examples/without_safetensors:$PYTHONPATH"
PYTHONPATH="$PWD:$PYTHONPATH" exec timeout 470 "$python" -m benchmarks.gpu --out "$folder/gpu.json" "$@"
