"""The first guess: find the persons of an image, then look at each of them.

    finder.py     where persons are: boxes with scores, by NanoDet
    nanodet.py    its network
    looker.py     what one person's square crop shows: feature maps and a first pose, by MoveNet
    movenet.py    its network
    mobilenet.py  the backbone of MoveNet

Both networks are frozen: they are trained elsewhere, on COCO, and only converted (``examples/convert_first_guess.py``).
Either may be replaced. Boxes may come from anywhere; a looker needs maps that the pose layers know.
"""
