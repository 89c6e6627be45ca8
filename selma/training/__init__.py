"""Training: the loop, cached moments, the objective, adapters under training."""
