"""Merge methods: pure functions of one layer, named by their formula."""
