"""The method once more, slowly and plainly: numpy, double precision, one image at a time, nothing of clickpose.

arithmetic   layers
attention    among tokens, and deformable
encoder      from an image to its memory
decoder      from a memory to persons
criterion    matching, and losses
loop         clicks, and what the pose layers make of them

``python -m parity.twin`` writes the cases that ship.
"""
