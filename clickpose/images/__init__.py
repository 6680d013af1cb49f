"""Images from outside: decoded in one place, upright, RGB, within limits.

decoding.py   bytes or a file to an RGB picture
limits.py     small files that would cost hours or all memory, refused before they are decoded
"""

from clickpose.images.decoding import FORMATS, MAX_BYTES, MAX_PIXELS, decode_image, read_image

__all__ = ["FORMATS", "MAX_BYTES", "MAX_PIXELS", "decode_image", "read_image"]
