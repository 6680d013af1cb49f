"""Is our network the published one, number by number? ``python -m parity``, anywhere; see the README beside.

fixture      recorded arrays, and how far ours are from them
draws        weights, images and persons from names and seeds
recipe       our network with those weights
inference    every stage of the first pass
matching     who is whom, and losses
loop         rounds of clicks
training     a training step with its gradients
clicks       AP at n clicks, number of clicks
plain, plain_training   the published arithmetic written out in PyTorch, which faster forms are compared with
watch        what passes through a network while it runs
twin/        another implementation, in numpy, that made the cases that ship
cases/       those
"""
