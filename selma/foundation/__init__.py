"""The factory of the pocket world's models and benchmarks; run once, released."""
