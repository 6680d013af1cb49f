"""The errors that this product raises.

    ClickPoseError
    |-- ImageError            an image is missing, broken or too large
    |-- InvalidClick          a click names no person, no keypoint, or lies outside the image
    |-- InvalidAnnotation     a record of a data set or a labelling task cannot be used
    |-- InvalidSkeleton       a keypoint schema contradicts itself
    |-- InvalidConfig         a setting is outside its range
    |-- InvalidModel          a model folder cannot be loaded
    |-- StoreError            something is missing from the store, or already there
    |   `-- StoreInUse        another process is writing to it; try again later
    |-- TrainingDiverged      a loss is not finite
    |-- NotReady              the service is still loading; try again
    |-- Unauthorized          the request has no credentials, or wrong ones
    `-- LabelStudioError      Label Studio rejected a request or did not answer

Each error is one sentence that names the file, record, field or id and says what to do. An error is constructed from
that string alone, so that it can be pickled.
"""


class ClickPoseError(Exception):
    """Base of every error this product raises on purpose."""


class ImageError(ClickPoseError):
    """An image is missing, cannot be decoded, or exceeds the limits on bytes or pixels."""


class InvalidClick(ClickPoseError):
    """A click names a person or keypoint that does not exist, or lies outside the image."""


class InvalidAnnotation(ClickPoseError):
    """A record of a data set or a labelling task is malformed; the message names file, id and field."""


class InvalidSkeleton(ClickPoseError):
    """A keypoint schema contradicts itself: unequal lengths, unknown names, a flip that is no involution."""


class InvalidConfig(ClickPoseError):
    """A setting is outside its range or contradicts another."""


class InvalidModel(ClickPoseError):
    """A model folder is incomplete, or its weights do not fit its configuration."""


class StoreError(ClickPoseError):
    """An object is missing from the store, or already there where it must not be."""


class StoreInUse(StoreError):
    """Another process is writing to the store; the same command will succeed when it has finished."""


class TrainingDiverged(ClickPoseError):
    """A loss is not finite; the message names the step and the images of its batch."""


class NotReady(ClickPoseError):
    """The service is still loading its model; the same request will succeed later."""


class Unauthorized(ClickPoseError):
    """The request has no credentials, or wrong ones."""


class LabelStudioError(ClickPoseError):
    """Label Studio rejected a request or did not answer in time."""
