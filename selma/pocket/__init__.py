"""The pocket world: a small world of flat shapes in which the whole method runs and truth is known."""
