"""Benchmarks and answer files that others have published, read into this project's tables."""
