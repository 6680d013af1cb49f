"""``clickpose demo``: the whole loop on one machine, every part of it real but the annotator.

pictures   what ships with the repository, and the truth about it
player     an annotator who works through Label Studio's own HTTP interface
story      the steps in their order
report     the table, the images and the numbers
"""
