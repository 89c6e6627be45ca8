"""Judges: models that look at a picture and answer questions about it."""
