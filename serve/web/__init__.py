"""The ingress: a web application that holds no model. In reading order:

ingress          builds the application from the parts below
remote           the pose service that its routes call; the work is done by replicas
rest, schemas    the stateless REST routes, their bodies
rest_sessions    REST routes that keep the poses of an image between calls (``open_images``)
errors           the answer to each kind of error
admission        how many requests of programs are accepted at once
body_limit       how long a request may be
webhooks         Label Studio's events
api_page         the REST interface as a page
"""
