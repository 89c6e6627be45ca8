"""Merging: several LoRA adapters become one, exactly, without forming a dense update."""
