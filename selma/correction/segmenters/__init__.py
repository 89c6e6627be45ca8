"""Segmenters: which pixels in a box are its object."""
