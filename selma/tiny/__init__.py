"""The real presets at tiny sizes: untrained models of the real classes, to try a whole graph."""
