"""The pocket world: flat shapes on a small canvas, where the method runs and truth is known."""
