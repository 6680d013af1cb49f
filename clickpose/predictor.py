"""Pixels in, pixels out: encode a picture once, detect its persons, refine them click by click."""
