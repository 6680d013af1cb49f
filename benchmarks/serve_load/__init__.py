"""Twenty annotators lean on the service while it is killed, swapped and flooded: ``python -m benchmarks.serve_load``.

stand        the service under test: real Ray, real HTTP, the demo model twice in a store; how it is hurt
pictures     two hundred different pictures
annotator    somebody who works through Label Studio's protocol, and checks that what she placed stays
flood        ten times the requests, through the REST interface
records      what was asked and answered, and the numbers made of it
phases       the story: work, faults, flood, recovery, endurance
report       a table, a picture, ``results/serve_load.json``
"""
