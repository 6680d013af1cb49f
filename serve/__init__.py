"""Ray Serve around the same predictor: the service behind every click.

app             the application: arguments in, deployments out
front           HAProxy before the front door
ingress         the front door: Label Studio's routes, REST (``rest``, ``schemas``)
remote          the pose service as the front door sees it: replicas behind a handle
replica         a model (``model_watch``), encoded pictures (``encoded_cache``), annotators' screens (``sessions``)
image_source    where pictures may be read from
"""
