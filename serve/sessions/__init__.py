"""What each annotator sees. In reading order:

sessions    the poses that were sent to a browser, and the ones it shows now
recovery    copies in the ingresses, for a replica that takes over
peers       how the ingresses ask each other
locks       edits of one session run one after the other
"""
