"""How the method learns. In reading order:

loop.py          one epoch: forward, backward, step, average
state.py         what a resumed run needs: weights, their average, the optimiser, the step
config.py        how a model is trained; the defaults are the published settings

forward.py       real and noised queries side by side, then the feedback loop
decoder.py       the decoder of a step, which keeps noised persons apart from real ones
denoising.py     noised copies of the truth that the decoder learns to repair
feedback.py      simulated clicks: the truth plays the annotator
output.py        what a step predicts, before any loss
matcher.py       predictions matched to persons, one to one
losses.py        the losses of every supervised layer
running_means.py their means over an epoch, read when they are shown

targets.py       the truth of an image as tensors
batches.py       batches that depend on (seed, epoch, step) only
augment.py       the interface of image augmentations
crops.py         images augmented as published
scenes.py        several images pasted into one, for little data

fast/            the same network, rewritten so that it trains faster
person_frame/    how the pose layers learn in a person's own frame
cpu.py           how a process is set up to train on a CPU
"""
