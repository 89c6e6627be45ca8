"""A free answer becomes the choice that a sentence encoder finds nearest."""

import itertools

import pytest
import torch
from safetensors.torch import load_file, save_file

from selma.core.errors import ConfigError, MissingDataError, RecordError
from selma.metrics.sbert import load_sbert_mapper
from selma.tiny.sentences import MAX_TOKENS, WORDS, word_tokenizer, write_sentence_encoder

pytest.importorskip("sentence_transformers", reason="selma[sbert] is not installed")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    directory = tmp_path_factory.mktemp("encoder")
    return directory, write_sentence_encoder(directory)


def rewrite(directory, change):
    path = directory / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def padded_nearest(model, answer, choices):
    """Compute as TIFA's authors describe it: one padded batch, masked mean, unit length."""
    batch = word_tokenizer()(
        [answer, *choices], padding=True, truncation=True, max_length=MAX_TOKENS,
        return_tensors="pt",
    )  # fmt: skip
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
    rows = []
    for state, mask in zip(states, batch["attention_mask"], strict=True):
        mean = state[mask.bool()].double().mean(dim=0)
        rows.append(mean / mean.norm())
    return choices[int(torch.stack([row @ rows[0] for row in rows[1:]]).argmax())]


def pairs():
    answers = ["the red dog", "two", "0", "a cat the sky", "green green green", "", "beach " * 30]
    choices = [list(four) for four in itertools.combinations(WORDS[:8], 4)][::9]
    choices += [["the red cat", "sky", "a dog the beach", "one two"], ["no word here", "yes"]]
    return [(answer, four) for answer in answers for four in choices]


def test_the_nearest_choice_is_the_one_of_an_independent_computation(encoder):
    directory, model = encoder
    mapper = load_sbert_mapper(directory)
    expected = [padded_nearest(model, *pair) for pair in pairs()]
    assert [mapper(*pair) for pair in pairs()] == expected
    places = {four.index(chosen) for (_, four), chosen in zip(pairs(), expected, strict=True)}
    assert len(places) == 4  # the encoder does tell texts apart


def test_preparing_all_pairs_changes_no_choice(encoder):
    prepared, alone = (load_sbert_mapper(encoder[0]) for _ in range(2))
    prepared.prepare(pairs())
    assert [prepared(*pair) for pair in pairs()] == [alone(*pair) for pair in reversed(pairs())][
        ::-1
    ]


def test_an_answer_that_is_a_choice_is_taken_letter_by_letter(encoder):
    mapper = load_sbert_mapper(encoder[0])
    assert mapper("red", ["Red", "red", "green"]) == "red"
    assert mapper("unheard of", ["x", "unheard of"]) == "unheard of"


def test_of_equal_choices_the_first_is_taken(encoder):
    mapper = load_sbert_mapper(encoder[0])
    assert mapper("RED", ["green", "Red", "red"]) == "Red"
    assert mapper("RED", ["green", "red", "Red"]) == "red"
    assert mapper("0", ["qqq", "zzz"]) == "qqq"  # both unknown words: the same tokens


def test_a_question_without_choices_is_one_of_yes_or_no(encoder):
    mapper = load_sbert_mapper(encoder[0])
    assert mapper("yes", []) == "yes"
    assert mapper("the dog", []) in ("yes", "no")


def test_the_mapper_tells_what_decides_it(encoder):
    about = load_sbert_mapper(encoder[0]).about
    assert (about["model_type"], about["max_tokens"]) == ("mpnet", MAX_TOKENS)
    assert len(about["weights_sha256"]) == 64


def test_a_pooler_in_the_file_is_no_matter(tmp_path, encoder):
    write_sentence_encoder(tmp_path)

    def drop(tensors):
        del tensors["pooler.dense.weight"], tensors["pooler.dense.bias"]

    rewrite(tmp_path, drop)
    without, with_pooler = load_sbert_mapper(tmp_path), load_sbert_mapper(encoder[0])
    assert [without(*pair) for pair in pairs()] == [with_pooler(*pair) for pair in pairs()]


def test_the_position_numbers_in_files_of_older_libraries_are_no_matter(tmp_path):
    write_sentence_encoder(tmp_path)
    numbers = torch.arange(MAX_TOKENS + 2)[None]
    rewrite(tmp_path, lambda tensors: tensors.update({"embeddings.position_ids": numbers}))
    assert load_sbert_mapper(tmp_path)("red", ["red", "green"]) == "red"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda t: t.pop("encoder.layer.1.attention.attn.q.weight"), "layer.1.attention.attn.q"),
        (lambda t: t.pop("pooler.dense.bias"), "pooler.dense.bias"),
        (lambda t: t.update({"head.weight": torch.zeros(2)}), "head.weight"),
        (
            lambda t: t.update({"embeddings.LayerNorm.bias": torch.zeros(8)}),
            "embeddings.LayerNorm.bias|mismatch",
        ),
    ],
)
def test_weights_that_do_not_fit_are_refused_by_name(tmp_path, change, named):
    write_sentence_encoder(tmp_path)
    rewrite(tmp_path, change)
    with pytest.raises(RecordError, match=named):
        load_sbert_mapper(tmp_path)


def test_a_damaged_file_is_refused(tmp_path):
    write_sentence_encoder(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(RecordError, match="not a sentence encoder"):
        load_sbert_mapper(tmp_path)


def test_a_device_that_is_not_there_is_told(encoder):
    with pytest.raises(ConfigError, match="unknown device 'gpu'"):
        load_sbert_mapper(encoder[0], device="gpu")


def test_a_folder_without_a_model_is_told(tmp_path):
    with pytest.raises(MissingDataError, match=r"config\.json"):
        load_sbert_mapper(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path):
    write_sentence_encoder(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "t5"}')
    with pytest.raises(ConfigError, match="unknown sentence encoder 't5'"):
        load_sbert_mapper(tmp_path)
