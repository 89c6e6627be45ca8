"""The commands of `selma`: each file describes its arguments and runs them."""
