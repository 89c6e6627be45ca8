import pytest
import torch

from selma.core.errors import RecordError
from selma.training.moments import decode_pictures, encode_examples


def rows_of(make_row, *numbers, skill="count", size=16):
    return [make_row(skill, number, size) for number in numbers]


def test_pixels_lie_between_minus_one_and_one(make_row):
    pixels = decode_pictures(rows_of(make_row, 0, 1), (16, 16))
    assert pixels.shape == (2, 3, 16, 16)
    assert pixels.min() >= -1
    assert pixels.max() <= 1
    assert pixels.min() < -0.9 < 0.9 < pixels.max()


def test_the_moments_are_those_of_the_vae_after_its_scaling(make_row, backbone):
    pixels = decode_pictures(rows_of(make_row, 0, 1), (16, 16))
    means, deviations = backbone.encode_pictures(pixels)
    posterior = backbone.vae.encode(pixels).latent_dist
    torch.testing.assert_close(means, posterior.mean * 0.5)
    torch.testing.assert_close(deviations, (0.5 * posterior.logvar).exp() * 0.5)


def test_a_draw_from_the_moments_is_a_draw_from_the_posterior(make_row, backbone):
    pixels = decode_pictures(rows_of(make_row, 0), (16, 16))
    means, deviations = backbone.encode_pictures(pixels)
    noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(5))
    posterior = backbone.vae.encode(pixels).latent_dist
    online = posterior.sample(torch.Generator().manual_seed(5)) * 0.5
    torch.testing.assert_close(means + deviations * noise, online)


@pytest.fixture
def encode(backbone, tmp_path):
    folders = iter(range(100))

    def encode(rows, **settings):
        return encode_examples(
            rows, backbone, tmp_path / str(next(folders)), **{"flip": False, **settings}
        )

    return encode


def test_text_states_are_what_the_pipeline_hands_to_the_unet(make_row, encoders, encode):
    examples = encode(rows_of(make_row, 0, 1))
    ids = encoders["tokenizer"](
        ["count b"], padding="max_length", max_length=12, truncation=True, return_tensors="pt"
    ).input_ids
    expected = encoders["text_encoder"](ids)[0]
    found = examples.conditions_of(torch.tensor([1]))["text"]
    torch.testing.assert_close(found, expected)


def test_a_prompt_with_several_pictures_is_encoded_once(make_row, encode):
    rows = rows_of(make_row, 0, 1, 2)
    rows[2]["prompt"] = rows[0]["prompt"]
    examples = encode(rows)
    assert len(examples) == 3
    assert examples.conditions["text"].shape[0] == 2
    assert examples.condition_index.tolist() == [0, 1, 0]


def test_the_order_of_the_rows_changes_nothing(make_row, encode, monkeypatch):
    monkeypatch.setattr("selma.training.moments.PICTURES_PER_SHARD", 2)
    rows = rows_of(make_row, 0, 1, 2)
    one, two = encode(rows), encode(rows[::-1])
    assert len(one.shards) == 2
    for ours, theirs in zip(
        one.moments([0, 1, 2], [False] * 3), two.moments([0, 1, 2], [False] * 3), strict=True
    ):
        assert torch.equal(ours, theirs)
    assert torch.equal(one.condition_index, two.condition_index)


def test_mirrored_pictures_have_moments_of_their_own(make_row, encode, backbone):
    rows = rows_of(make_row, 0, 1)
    examples = encode(rows, flip=True)
    pixels = decode_pictures(rows, (16, 16))
    for mirrored, seen in ((False, pixels), (True, pixels.flip(3))):
        means, deviations = examples.moments([0, 1], [mirrored] * 2)
        expected = backbone.encode_pictures(seen)
        torch.testing.assert_close(means, expected[0])
        torch.testing.assert_close(deviations, expected[1])


def test_shards_of_an_earlier_run_are_taken_up_and_broken_ones_made_anew(
    make_row, backbone, tmp_path, monkeypatch
):
    monkeypatch.setattr("selma.training.moments.PICTURES_PER_SHARD", 2)
    rows, counted = rows_of(make_row, 0, 1, 2), []
    encode_pictures = backbone.encode_pictures
    monkeypatch.setattr(
        backbone, "encode_pictures", lambda p: counted.append(len(p)) or encode_pictures(p)
    )
    encode_examples(rows, backbone, tmp_path, flip=False)
    encode_examples(rows, backbone, tmp_path, flip=False)
    assert sum(counted) == 3
    first = tmp_path / "moments-000000.safetensors"
    first.write_bytes(first.read_bytes()[:50])
    encode_examples(rows, backbone, tmp_path, flip=False)
    assert sum(counted) == 5


def test_a_damaged_picture_is_named(make_row, encode):
    rows = rows_of(make_row, 0, 1)
    rows[1]["image"]["bytes"] = rows[1]["image"]["bytes"][:80]
    with pytest.raises(RecordError, match="'count-1', sample 0: .* are not a whole picture"):
        encode(rows)


def test_pictures_of_two_sizes_are_refused(make_row, encode):
    rows = [*rows_of(make_row, 0), *rows_of(make_row, 1, size=8)]
    with pytest.raises(RecordError, match=r"'count-1'.*\(8, 8\).*expected \(16, 16\)"):
        encode(rows)


def test_latents_that_are_not_finite_name_the_picture(make_row, encode, backbone, monkeypatch):
    nan = torch.full((1, 4, 4, 4), float("nan"))
    monkeypatch.setattr(backbone, "encode_pictures", lambda pixels: (nan, nan))
    with pytest.raises(RecordError, match="'count-0', sample 0: its latents are not finite"):
        encode(rows_of(make_row, 0))


def test_an_empty_table_is_refused(encode):
    with pytest.raises(RecordError, match="no pictures"):
        encode([])
