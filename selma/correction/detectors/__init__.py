"""Detectors: which objects a picture shows, asked in words."""
