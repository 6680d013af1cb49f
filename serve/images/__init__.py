"""Where images may be read from. In reading order:

source          the places that are allowed, and which of them a name refers to
buckets         S3, Google Cloud Storage and other object stores
label_studio    files that only Label Studio can deliver
uploads         images that programs sent
"""
