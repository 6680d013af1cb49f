"""The network. Letters in shapes:

    B  pictures in a batch             D  width of a token
    S  memory tokens of all levels     H  attention heads
    L  feature levels                  P  sampling points per head and level
    Q  queries (proposals)             N  persons
    K  keypoints                       G  tokens of a person, K + 1

Boxes are ``cxcywh`` and points x, y, both float32 in [0, 1] of the picture without its padding.
"""

from clickpose.model.click_pose import ClickPose
from clickpose.model.config import ModelConfig, mobilenet_v2_demo, resnet50_coco, tiny

__all__ = ["ClickPose", "ModelConfig", "mobilenet_v2_demo", "resnet50_coco", "tiny"]
