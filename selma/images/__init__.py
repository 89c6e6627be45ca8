"""Draws pictures: the backbone, sampling, and the tables the pictures are kept in."""
