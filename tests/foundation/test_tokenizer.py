from transformers import CLIPTokenizer

from selma.foundation.tokenizer import build_tokenizer, learn_merges


def test_merges_join_the_most_frequent_pair_first_and_ties_go_by_spelling():
    merges = learn_merges(["ab ab ab", "cd cd cd", "ax"], 2)
    assert merges == [("a", "b</w>"), ("c", "d</w>")]


def test_any_text_tokenises_and_comes_back(tmp_path):
    build_tokenizer(0).save_pretrained(tmp_path)
    tokenizer = CLIPTokenizer.from_pretrained(tmp_path)
    for text in ("an astronaut riding a horse", "ça va? 日本 7 🐈"):
        ids = tokenizer(text).input_ids
        assert tokenizer.unk_token_id not in ids[1:-1]
        plain = tokenizer.decode(ids, skip_special_tokens=True).replace(" ", "")
        assert plain == text.replace(" ", "")


def test_the_worlds_words_are_single_tokens():
    tokenizer = build_tokenizer(0)
    words = ["triangle", "counterfactual", "background", "purple", "three"]
    lengths = {word: len(tokenizer.tokenize(word)) for word in words}
    assert lengths["triangle"] == lengths["background"] == lengths["purple"] == 1
    assert lengths["counterfactual"] > 1


def test_the_same_seed_writes_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        build_tokenizer(0).save_pretrained(tmp_path / name)
    first, second = ((tmp_path / n / "tokenizer.json").read_bytes() for n in ("a", "b"))
    assert first == second
