"""The network. In reading order:

click_pose.py   the whole network: encode, find persons, estimate poses, refine them by clicks
config.py       its sizes; presets are functions
backbone.py     torchvision features of stride 8, 16 and 32
encoder.py      features become memory
proposals.py    the tokens of memory that look most like a person
decoder.py      persons as boxes, then with their keypoints; decoder_layer.py is one layer of it
feedback.py     the pose layers again, from poses that a human has corrected
attention.py    deformable attention, with sampling.py, its inner loop
positions.py    sine encodings
layers.py       small blocks used by several parts
inputs.py       images as the network takes them

Letters in shapes:

    B  images in a batch             D  width of a token
    S  memory tokens of all levels     H  attention heads
    L  feature levels                  P  sampling points per head and level
    Q  queries (proposals)             N  persons
    K  keypoints                       G  tokens of a person, K + 1

Boxes are ``cxcywh`` and points x, y, both float32 in [0, 1] of the image without its padding.
"""

from clickpose.model.click_pose import ClickPose
from clickpose.model.config import ModelConfig, mobilenet_v2_demo, resnet50_coco, tiny

__all__ = ["ClickPose", "ModelConfig", "mobilenet_v2_demo", "resnet50_coco", "tiny"]
