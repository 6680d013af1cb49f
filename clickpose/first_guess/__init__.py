"""The first guess: find the persons of an image, then look at each of them.

    finder.py     where persons are: boxes with scores, by NanoDet
    nanodet.py    its network
    looker.py     feature maps and a first pose from one person's square crop, by MoveNet
    movenet.py    its network
    mobilenet.py  the backbone of MoveNet

Both networks are frozen: they are trained elsewhere, on COCO, and only converted (``examples/convert_first_guess.py``).
Either may be replaced. Boxes may come from any detector; a looker must have the maps that the pose layers expect.
"""
