"""Models on disk.

files.py             the files of a model folder, by name
model_folder.py      our own form: a folder in which nothing is executed
growing.py           a model of one skeleton becomes the start of a model of another
published_names.py   the names of weights in the authors' checkpoints, and ours
published_file.py    the authors' checkpoints, read and written
"""
