"""Another model to compare with: let MoveNet find the keypoints of persons whose boxes are given.

    pip install ai-edge-litert
    python examples/movenet_results.py movenet.tflite coco_val.json images movenet.json
    clickpose evaluate models/demo coco_val.json --images images --results movenet.json

MoveNet (single pose, 17 COCO keypoints) sees a square of 1.25 times the longer side of the true box: where people are,
it is told, so its numbers are those of "model + manual correction" with perfect boxes.
"""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from clickpose.annotations import AnnotationSet, PersonAnnotation, Pose
from clickpose.oks import oks
from clickpose.poses import new_pose
from clickpose.skeleton import Skeleton
from integrations.coco import read_coco, results_to_coco
from pipeline.dataset import ImageFolder

CROP_PER_BOX = 1.25


class MoveNet:
    """Finds one person in a square of an image."""

    def __init__(self, path: Path) -> None:
        self.interpreter = Interpreter(str(path), num_threads=1)
        self.interpreter.allocate_tensors()
        (self.input,), (self.output,) = self.interpreter.get_input_details(), self.interpreter.get_output_details()
        self.side_px = int(self.input["shape"][1])

    def detect(self, image: Image.Image, person: PersonAnnotation) -> Pose:
        x0, y0, x1, y1 = (float(edge) for edge in person.box_px)
        side = CROP_PER_BOX * max(x1 - x0, y1 - y0, 1.0)
        left, top = (x0 + x1 - side) / 2, (y0 + y1 - side) / 2
        square, size = (left, top, left + side, top + side), (self.side_px, self.side_px)
        crop = image.transform(size, Image.Transform.EXTENT, square, Image.Resampling.BILINEAR)
        self.interpreter.set_tensor(self.input["index"], np.asarray(crop, self.input["dtype"])[None])
        self.interpreter.invoke()
        y, x, scores = self.interpreter.get_tensor(self.output["index"]).reshape(17, 3).T
        keypoints_px = np.column_stack((left + x * side, top + y * side))
        return new_pose(keypoints_px, person.box_px, float(scores.mean()), scores)


def main(weights: Path, data: Path, images: Path, out: Path) -> None:
    annotations = read_coco(data)
    if annotations.skeleton != Skeleton.load("coco17"):
        sys.exit(f"{data} has the keypoints of {annotations.skeleton.name!r}, MoveNet those of 'coco17'")
    poses = find(MoveNet(weights), annotations, ImageFolder(str(images)))
    out.write_text(json.dumps(results_to_coco({id: list(found.values()) for id, found in poses.items()})))
    persons = {person.id: person for image in annotations.images for person in image.persons}
    for least in (1, 5):
        similarity = [
            oks(pose.keypoints_px, persons[id], annotations.skeleton.sigmas)
            for found in poses.values()
            for id, pose in found.items()
            if persons[id].num_labelled >= least
        ]
        print(f"{len(similarity)} persons of {least} or more keypoints, mean OKS {np.mean(similarity):.3f}")


def find(movenet: MoveNet, annotations: AnnotationSet, images: ImageFolder) -> dict[int, dict[int, Pose]]:
    """Poses by image id and person id, for every person with a labelled keypoint."""
    poses: dict[int, dict[int, Pose]] = {}
    for record in annotations.images:
        persons = [p for p in record.persons if p.num_labelled and not p.is_crowd]
        if persons:
            image = images(record)
            poses[record.id] = {person.id: movenet.detect(image, person) for person in persons}
    return poses


if __name__ == "__main__":
    main(*(Path(argument) for argument in sys.argv[1:5]))
