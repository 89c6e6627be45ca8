"""LoRA adapters: low-rank factors and the files that hold them."""
