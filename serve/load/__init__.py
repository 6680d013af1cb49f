"""Simulated annotators and programs that put a running service under load. In reading order:

transport    connections that use little of the machine that is measured
annotator    works through Label Studio's protocol, and checks that placed keypoints stay
team         several of them at work
flood        ten times the requests, through the REST interface
phases       work, faults, flood, recovery, endurance
records      requests, answers, and numbers about them
processes    of the service, and the processor time they have used
"""
