"""Ways of drawing that bind words to what they describe, without training."""
