"""The editor that leaves all pixels outside of its masks as they are, by inpainting pipelines."""
