"""Published checkpoints turned into the layouts that the scorers load."""
