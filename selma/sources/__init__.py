"""Where training pictures come from beside the model itself: ground truth, the best of several."""
