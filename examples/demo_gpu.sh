#!/bin/sh
# The demo model on a GPU, in eleven minutes: pose layers and the looker's last stages learn from packed persons
# (python -m examples.pack_crops). Needs Python, torch >= 2.11, torchvision, numpy and pillow; no network.
#   sh examples/demo_gpu.sh PACKED OUT
# To try it without a GPU:
#   sh examples/demo_gpu.sh PACKED OUT --device cpu --quick --minutes .5
# OUT/model is a model folder; examples/demo_model.py calibrates it where the images are.
cd "$(dirname "$0")/.." || exit 1
python="${PYTHON:-python3}"
"$python" -c "import safetensors" 2>/dev/null || PYTHONPATH="$PWD/examples/without_safetensors:$PYTHONPATH"
PYTHONPATH="$PWD:$PYTHONPATH" exec timeout 660 "$python" -m examples.demo_gpu "$@"
