"""Experts: LoRA adapters that teach the U-Net one skill from its own pictures."""
