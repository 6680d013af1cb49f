"""``clickpose annotate``: from a folder of photos to annotated skeletons, on one machine.

command     the options, the address that is printed, Ctrl-C
desk        Label Studio, Ray, the service, the project and the proxy, started in this order and stopped together
first_model  the model that a new data folder starts with
log         messages of libraries, in a file of the data folder
background  work in the background: labelling, and retraining on corrections
"""
