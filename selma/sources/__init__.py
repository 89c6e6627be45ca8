"""Where training pictures come from beside the model that is taught: ground truth."""
