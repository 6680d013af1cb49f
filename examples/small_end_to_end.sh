#!/bin/sh
# Train the small network of the published form, end to end, on COCO and a few GPUs. No weights of it are shipped.
#
#     sh examples/small_end_to_end.sh COCO_FOLDER OUT
#
# COCO_FOLDER holds annotations/person_keypoints_{train,val}2017.json, train2017/ and val2017/. The backbone is that of
# MoveNet Lightning, which comes with the package and has seen poses; it pads as its weights were trained. On a CPU this
# road is closed: 28,800 scenes, 55 minutes on one core, gave a keypoint AP of .030 on COCO's val pictures.
set -eu
coco=$1 out=$2

clickpose train "$coco/annotations/person_keypoints_train2017.json" --images "$coco/train2017" \
    --preset mobilenet_v2_demo --recipe demo --epochs 60 --batch-size 64 --workers 4 --run "$out/run" --out "$out/model"
clickpose evaluate "$out/model" "$coco/annotations/person_keypoints_val2017.json" --images "$coco/val2017"
