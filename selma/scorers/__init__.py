"""Scorers: models that say how much people would like a picture for its prompt."""
