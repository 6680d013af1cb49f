"""``clickpose demo``: the whole loop on one machine; every part is real except the annotator.

command    starts everything, runs the story, keeps running for spectators
images   the images in the repository, and their annotations
player     an annotator who works through Label Studio's own HTTP interface
story      the steps in their order
report     the table, the images and the numbers
"""
