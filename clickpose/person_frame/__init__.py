"""Click-Pose in the person's own frame: the paper's pose layers on a looker's maps of one person's crop.

    frame.py         a person's square, and coordinates in it
    maps.py          a looker's maps, and deformable attention to them
    network.py       the pose layers, and the confidence of each keypoint
    config.py        their shape
    starts.py        where each keypoint starts from
    person_frame.py  encode, detect, refine, add a person

Learned keypoint queries, attention within the person, deformable attention, iterated references and held clicks are
the paper's (section 3). The frame, the frozen networks that look, and the two chances of each keypoint are not.
"""
