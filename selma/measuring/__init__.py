"""The acts ask, score, compare, rate and choose, shared by stages and commands."""
