"""Click-Pose: keypoints of every person in an image, refined by clicks (Yang et al., ICCV 2023).

In reading order:

annotations.py    the values that all parts exchange: a pose, a click, an annotated image
skeleton.py       keypoint schemas as data; sides.py finds left and right in their names
model/            the network, as the paper describes it
predictor.py      encode an image once, detect its persons, refine them click by click
whole_image.py    the published form behind it: one network, end to end
person_frame/     the other form: each person in a frame of their own, for machines without a GPU
first_guess/      the frozen networks that find persons there, and look at each
training/         how the network learns: the loop, losses, denoising, simulated clicks
evaluation/       how good a model is, in average precision and in clicks

What these are built on:

encoded.py        what is kept of an image, whichever form a model has
boxes.py          boxes as tensors
image_frame.py    points and boxes carried from pixels to fractions of the image, and back
oks.py            object keypoint similarity, in pixels
match_costs.py    the cost of matching a prediction to a person
expected_clicks.py   how many clicks an image is expected to take
clicks.py         clicks checked and applied before a model sees them
poses.py          operations on poses that do not need the image
inference/        the same network, rewritten for speed, as training/fast/ is; rewriting.py says how
checkpoints/      models on disk, and the authors' checkpoints
images/           images from outside: decoded upright, RGB, within limits
synthetic.py      drawn people, for tests
errors.py         the errors that this product raises
commands/         the command line: the only place that knows the other packages
"""
