"""The service under load: twenty annotators, crashes, new models, a flood: ``python -m benchmarks.serve_load``.

stand        the service under test: real Ray, real HTTP, the demo model twice in a store; faults
pictures     two hundred different images
annotator    works through Label Studio's protocol, and checks that placed keypoints stay
flood        ten times the requests, through the REST interface
records      requests, answers, and numbers about them
phases       work, faults, flood, recovery, endurance
report       a table, a figure, ``results/serve_load.json``
"""
