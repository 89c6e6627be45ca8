"""The acts ask, score and compare, shared by stages and commands."""
