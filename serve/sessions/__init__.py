"""What each annotator sees. In reading order:

sessions    the poses that were sent to a browser, and the ones it shows now
recovery    a copy in the ingress, for a replica that takes over
locks       edits of one session run one after the other
"""
