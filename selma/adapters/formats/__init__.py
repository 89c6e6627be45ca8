"""The layouts in which LoRA adapters are passed around: diffusers, PEFT, kohya."""
