"""Which model is served. In reading order:

source          a model folder, or the store's current model
watch           loads a newly promoted model while the old one answers
smoke_test      every step of the method once, before a model is served
low_priority    threads that give way to clicks
"""
