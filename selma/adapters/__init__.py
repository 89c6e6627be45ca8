"""LoRA adapters: factors of layers, and files in every layout that people pass around."""
