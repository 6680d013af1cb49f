"""The service under load: twenty annotators, crashes, new models, a flood: ``python -m benchmarks.serve_load``.

The annotators, the flood and the phases are those of ``serve.load``.

stand        the service under test: real Ray, real HTTP, the demo model twice in a store; faults
pictures     two hundred different images
startup      what the start of the service takes: python -m benchmarks.serve_load.startup
capacity     annotators per core, images per GB: python -m benchmarks.serve_load.capacity
report       a table, a figure, ``results/serve_load.json``
"""
