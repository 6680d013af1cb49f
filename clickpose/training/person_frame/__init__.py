"""How the pose layers learn in the person's frame. In reading order:

settings.py how persons are drawn, and how the simulated annotator behaves
drawing.py  crops of annotated persons as a looker sees them, kept on disk
batches.py  batches of kept crops, shown a little differently each time
epochs.py   the batches of an epoch, of several data sets
step.py     the loss: a few rounds with a simulated annotator
packing.py  persons cut out of their images, in one small file
pixels.py   the same loss on pixels: the looker's last stages learn, too
"""
