import pytest
import torch

from selma.core.errors import RecordError
from selma.diffusion.encoding import encode_pictures
from selma.training.moments import decode_pictures, encode_examples


def rows_of(make_row, *numbers, skill="count", size=16):
    return [make_row(skill, number, size) for number in numbers]


def test_pixels_lie_between_minus_one_and_one(make_row):
    pixels = decode_pictures(rows_of(make_row, 0, 1))
    assert pixels.shape == (2, 3, 16, 16)
    assert pixels.min() >= -1
    assert pixels.max() <= 1
    assert pixels.min() < -0.9 < 0.9 < pixels.max()


def test_the_moments_are_those_of_the_vae_after_its_scaling(make_row, encoders):
    pixels = decode_pictures(rows_of(make_row, 0, 1))
    means, deviations = encode_pictures(encoders["vae"], pixels)
    posterior = encoders["vae"].encode(pixels).latent_dist
    torch.testing.assert_close(means, posterior.mean * 0.5)
    torch.testing.assert_close(deviations, (0.5 * posterior.logvar).exp() * 0.5)


def test_a_draw_from_the_moments_is_a_draw_from_the_posterior(make_row, encoders):
    pixels = decode_pictures(rows_of(make_row, 0))
    means, deviations = encode_pictures(encoders["vae"], pixels)
    noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(5))
    posterior = encoders["vae"].encode(pixels).latent_dist
    online = posterior.sample(torch.Generator().manual_seed(5)) * 0.5
    torch.testing.assert_close(means + deviations * noise, online)


def test_text_states_are_what_the_pipeline_hands_to_the_unet(make_row, encoders):
    examples = encode_examples(rows_of(make_row, 0, 1), **encoders)
    ids = encoders["tokenizer"](
        ["count b"], padding="max_length", max_length=12, truncation=True, return_tensors="pt"
    ).input_ids
    expected = encoders["text_encoder"](ids)[0][0]
    found = examples.text_states[examples.text_index[1]]
    torch.testing.assert_close(found, expected)


def test_a_prompt_with_several_pictures_is_encoded_once(make_row, encoders):
    rows = rows_of(make_row, 0, 1, 2)
    rows[2]["prompt"] = rows[0]["prompt"]
    examples = encode_examples(rows, **encoders)
    assert len(examples) == 3
    assert examples.text_states.shape[0] == 2
    assert examples.text_index.tolist() == [0, 1, 0]


def test_the_order_of_the_rows_changes_nothing(make_row, encoders):
    rows = rows_of(make_row, 0, 1, 2)
    one, two = encode_examples(rows, **encoders), encode_examples(rows[::-1], **encoders)
    assert torch.equal(one.latent_means, two.latent_means)
    assert torch.equal(one.text_index, two.text_index)


def test_a_damaged_picture_is_named(make_row, encoders):
    rows = rows_of(make_row, 0, 1)
    rows[1]["image"]["bytes"] = rows[1]["image"]["bytes"][:80]
    with pytest.raises(RecordError, match="'count-1', sample 0: .* are not a whole picture"):
        encode_examples(rows, **encoders)


def test_pictures_of_two_sizes_are_refused(make_row, encoders):
    rows = [*rows_of(make_row, 0), *rows_of(make_row, 1, size=8)]
    with pytest.raises(RecordError, match=r"'count-1'.*\(8, 8\).*expected \(16, 16\)"):
        encode_examples(rows, **encoders)


def test_an_empty_table_is_refused(encoders):
    with pytest.raises(RecordError, match="no pictures"):
        encode_examples([], **encoders)
