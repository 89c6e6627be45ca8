"""The published figures of what a picture and a training sample cost, from configs alone."""

import pytest

from selma.checking.flops import count_costs

SD1 = {
    "sample_size": 64, "cross_attention_dim": 768, "attention_head_dim": 8,
}  # fmt: skip
SD2 = {
    "sample_size": 96, "cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20],
    "use_linear_projection": True,
}  # fmt: skip
SDXL = {
    "sample_size": 128, "cross_attention_dim": 2048, "attention_head_dim": [5, 10, 20],
    "use_linear_projection": True, "block_out_channels": [320, 640, 1280],
    "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"],
    "up_block_types": ["CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"],
    "transformer_layers_per_block": [1, 2, 10], "addition_embed_type": "text_time",
    "addition_time_embed_dim": 256, "projection_class_embeddings_input_dim": 2816,
}  # fmt: skip
VAE = {
    "block_out_channels": [128, 256, 512, 512], "layers_per_block": 2, "latent_channels": 4,
    "down_block_types": ["DownEncoderBlock2D"] * 4, "up_block_types": ["UpDecoderBlock2D"] * 4,
}  # fmt: skip


@pytest.mark.parametrize(
    ("unet", "predict", "train", "encode", "decode"),
    [
        (SD1, 0.803, 1.82, 1.117, 2.515),
        (SD2, 2.149, 5.12, 2.609, 5.754),
        (SDXL, 6.761, 15.05, 4.879, 10.470),
    ],
    ids=["SD1.4 at 512", "SD2 at 768", "SDXL at 1024"],
)
def test_a_models_costs_are_the_published_ones(unet, predict, train, encode, decode):
    costs = count_costs(unet, VAE, rank=128)
    found = [count / 1e12 for count in (costs.predict, costs.train, costs.encode, costs.decode)]
    assert found == pytest.approx([predict, train, encode, decode], rel=0.01)
