"""Editors: what carries out a plan on a picture."""
