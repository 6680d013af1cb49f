"""Ray Serve around the same predictor: the service behind every click. In reading order:

app           the application: arguments in, deployments out
settings      its arguments
web           the ingress: Label Studio's routes, the REST interface, errors, limits
replica       a model and the images it has encoded; the client that calls it
sessions      what each annotator sees, so that edits build on each other and survive a crash
models        which model is served, and how it is replaced
images        where images may be read from
monitoring    metrics, the request log, a replica's status
load          simulated annotators and programs that put a running service under load
haproxy       HAProxy in front of the ingress
"""
