#!/bin/sh
# Everything that needs a GPU, in eight minutes at most: needs Python, torch >= 2.11, torchvision, numpy and pillow,
# no Ray and no network. Writes gpu.json to $OUT, or to benchmarks/results. To try it without a GPU:
#   sh benchmarks/gpu.sh --device cpu --quick
cd "$(dirname "$0")/.." || exit 1
folder="${OUT:-benchmarks/results}"
mkdir -p "$folder"
python="${PYTHON:-python3}"
"$python" -c "import safetensors" 2>/dev/null || {  # nothing here reads a file of weights: a name to import is enough
    stand_in="$(mktemp -d)"
    mkdir "$stand_in/safetensors"
    echo "class SafetensorError(Exception): ..." > "$stand_in/safetensors/__init__.py"
    echo "load_file = save_file = None" > "$stand_in/safetensors/torch.py"
    export PYTHONPATH="$stand_in:$PYTHONPATH"
}
PYTHONPATH="$PWD:$PYTHONPATH" exec timeout 470 "$python" -m benchmarks.gpu --out "$folder/gpu.json" "$@"
