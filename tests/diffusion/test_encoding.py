import pytest
import torch

PROMPTS = ["a red cat", "dog", "a red cat", ""]


def test_prompts_are_what_the_text_encoder_makes_of_the_padded_tokens(backbone):
    states = backbone.encode_prompts(PROMPTS, at_once=2)["text"]
    encoder = backbone.encoders[0]
    tokens = encoder.tokenizer(PROMPTS, padding="max_length", return_tensors="pt")
    torch.testing.assert_close(states, encoder.model(tokens.input_ids)[0])


def test_a_text_encoder_that_asks_for_the_mask_does_not_see_the_padding(backbone):
    encoder = backbone.encoders[0]
    unmasked = backbone.encode_prompts(PROMPTS)["text"]
    encoder.model.config.use_attention_mask = True
    masked = backbone.encode_prompts(PROMPTS)["text"]
    tokens = encoder.tokenizer(PROMPTS, padding="max_length", return_tensors="pt")
    expected = encoder.model(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
    torch.testing.assert_close(masked, expected)
    assert not torch.allclose(masked, unmasked)


@pytest.mark.parametrize("shift", [None, 0.25])
def test_shift_and_scale_are_taken_off_again_before_decoding(backbone, shift):
    vae = backbone.vae
    vae.register_to_config(shift_factor=shift, scaling_factor=0.5)
    pixels = torch.rand((2, 3, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    means, deviations = backbone.encode_pictures(pixels)
    posterior = vae.encode(pixels).latent_dist
    torch.testing.assert_close(means, (posterior.mean - (shift or 0)) * 0.5)
    torch.testing.assert_close(deviations, posterior.std * 0.5)
    torch.testing.assert_close(backbone.decode(means), vae.decode(posterior.mean).sample)


def test_large_pictures_go_through_the_vae_in_slices(backbone, monkeypatch):
    monkeypatch.setattr("selma.diffusion.backbone.PIXELS_AT_ONCE", 2 * 32 * 32)
    pixels = torch.rand((5, 3, 32, 32), generator=torch.Generator().manual_seed(0)) * 2 - 1
    sizes = []
    for name in ("encode", "decode"):
        whole = getattr(backbone.vae, name)

        def counted(batch, whole=whole, **options):
            sizes.append(len(batch))
            return whole(batch, **options)

        monkeypatch.setattr(backbone.vae, name, counted)
    means, _ = backbone.encode_pictures(pixels)
    assert backbone.decode(means).shape == pixels.shape
    assert sizes == [2, 2, 1] * 2
