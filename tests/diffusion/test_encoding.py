import pytest
import torch

from selma.diffusion.encoding import decode_latents, encode_pictures, encode_prompts

PROMPTS = ["a red cat", "dog", "a red cat", ""]


def test_prompts_are_what_the_text_encoder_makes_of_the_padded_tokens(backbone):
    states = encode_prompts(backbone.tokenizer, backbone.text_encoder, PROMPTS, batch_size=2)
    tokens = backbone.tokenizer(PROMPTS, padding="max_length", return_tensors="pt")
    torch.testing.assert_close(states, backbone.text_encoder(tokens.input_ids)[0])


def test_a_text_encoder_that_asks_for_the_mask_does_not_see_the_padding(backbone):
    unmasked = encode_prompts(backbone.tokenizer, backbone.text_encoder, PROMPTS)
    backbone.text_encoder.config.use_attention_mask = True
    masked = encode_prompts(backbone.tokenizer, backbone.text_encoder, PROMPTS)
    tokens = backbone.tokenizer(PROMPTS, padding="max_length", return_tensors="pt")
    expected = backbone.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
    torch.testing.assert_close(masked, expected)
    assert not torch.allclose(masked, unmasked)


@pytest.mark.parametrize("shift", [None, 0.25])
def test_shift_and_scale_are_taken_off_again_before_decoding(backbone, shift):
    vae = backbone.vae
    vae.register_to_config(shift_factor=shift, scaling_factor=0.5)
    pixels = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    means, deviations = encode_pictures(vae, pixels)
    posterior = vae.encode(pixels).latent_dist
    torch.testing.assert_close(means, (posterior.mean - (shift or 0)) * 0.5)
    torch.testing.assert_close(deviations, posterior.std * 0.5)
    torch.testing.assert_close(decode_latents(vae, means), vae.decode(posterior.mean).sample)
