"""Scores of pictures against their prompts, and what a difference between two models is worth."""
