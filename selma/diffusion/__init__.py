"""One face for every backbone: load, encode, denoise, decode; batched sampling."""
