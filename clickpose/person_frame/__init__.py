"""Click-Pose in the person's own frame: the paper's pose layers on a looker's maps of one person's crop.

    frame.py      a person's square, and coordinates in it
    network.py    the pose layers, and how sure each keypoint is
    config.py     their shape
    crops.py      crops of annotated persons as a looker sees them, kept on disk
    batches.py    batches of crops to learn from
    learning.py   the losses and the loop
    predictor.py  encode, detect, refine, add_person

Learned keypoint queries, attention within the person, deformable attention, iterated references and held clicks are
the paper's (section 3). The frame, the frozen networks that look, and the two chances of each keypoint are not.
"""
