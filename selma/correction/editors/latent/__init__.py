"""The latent editor: SLD's repair of a picture in the latent space of a gated model."""
