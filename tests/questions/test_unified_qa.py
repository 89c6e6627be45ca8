"""Questions that a text model cannot answer from the caption are dropped."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit
from transformers import PreTrainedTokenizerFast, T5Config, T5ForConditionalGeneration

from selma.commands.cli import main
from selma.core.errors import MissingDataError, RecordError
from selma.core.tables import read_about, read_table
from selma.pocket.question_writer import MODEL, REVISION
from selma.questions.unified_qa import choice_input, filter_questions, load_unified_qa, token_f1

CAPTION = "two cats on the grass"
WORDS = [*CAPTION.split(), "how", "many", "are", "there", "?", "(A)", "(B)", "one", "yes", "no"]


def question(text, key, *choices):
    return {"question_id": 7, "question": text, "choices": list(choices), "answer": key}


@pytest.mark.parametrize(
    ("key", "answer", "f1"),
    [
        ("red", "red", 1.0),
        ("red", "Red.", 1.0),
        ("Red", "red", 1.0),
        ("red", "blue", 0.0),
        ("red", "", 0.0),
        ("dark red", "red", 2 / 3),  # precision 1, recall 1/2
        ("red", "a very dark red", 0.4),  # precision 1/4, recall 1
        ("on the grass", "in the grass", 2 / 3),  # 2 of 3 each way
        ("on the green grass", "on a grass", 4 / 7),  # precision 2/3, recall 2/4
        ("2", "two", 1.0),
        ("2", "two cats", 2 / 3),
        ("two", "2", 0.0),  # number words are read for a key in digits only
    ],
)
def test_the_word_f1_is_the_one_worked_out_by_hand(key, answer, f1):
    assert token_f1(key, answer) == pytest.approx(f1, abs=1e-12)


def test_a_question_is_kept_if_the_model_finds_its_key_both_ways():
    asked = [
        question("how many?", "2", "1", "2"),  # both right
        question("how many?", "2", "1", "2"),  # asked before
        question("what color?", "red", "red", "blue"),  # another choice
        question("where?", "on the grass", "on the grass", "at home"),  # another free answer
        question("any cats?", "yes", "yes", "no"),  # no free answer is needed
    ]
    answers = {
        choice_input("how many?", CAPTION, ["1", "2"]): "2",
        f"how many? \n {CAPTION}": "Two",
        choice_input("what color?", CAPTION, ["red", "blue"]): "blue",
        choice_input("where?", CAPTION, ["on the grass", "at home"]): "on the grass",
        f"where? \n {CAPTION}": "in a field of green grass",
        choice_input("any cats?", CAPTION, ["yes", "no"]): "yes",
    }
    kept, dropped = filter_questions(CAPTION, asked, lambda texts: [answers[one] for one in texts])
    assert [(row["question_id"], row["question"]) for row in kept] == [
        (1, "how many?"),
        (2, "any cats?"),
    ]
    assert dropped == {"repeated question": 1, "another choice": 1, "another free answer": 1}


def test_a_free_answer_of_exactly_the_limit_does_not_pass():
    key, answer = "a b c", "a b c d e f g"  # precision 3/7, recall 1: F1 0.6
    answers = iter((key, answer))
    asked = [question("q?", key, key, "z")]
    kept, dropped = filter_questions("c", asked, lambda _: [next(answers)])
    assert token_f1(key, answer) == pytest.approx(0.6)
    assert (kept, dropped["another free answer"]) == ([], 1)


def test_up_to_four_choices_are_shown_with_letters():
    assert choice_input("q?", "c", ["a", "b"]) == "q? \n c \n (A) a (B) b "
    assert choice_input("q?", "c", list("vwxyz")) == "q? \n c \n (A) v (B) w (C) x (D) y "


def write_model(directory):
    """Write a T5 of 20 thousand parameters."""
    vocabulary = {word: number for number, word in enumerate(["<pad>", "</s>", "<unk>", *WORDS])}
    words = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = WhitespaceSplit()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    )
    tokenizer.save_pretrained(directory)
    torch.manual_seed(5)
    config = T5Config(
        vocab_size=len(vocabulary),
        d_model=16,
        d_kv=8,
        d_ff=32,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=0,
        initializer_factor=3.0,
    )
    model = T5ForConditionalGeneration(config).eval()
    model.save_pretrained(directory)
    return model, tokenizer


def test_a_model_from_a_folder_answers_with_its_most_likely_words(tmp_path):
    model, tokenizer = write_model(tmp_path)
    answer = load_unified_qa(tmp_path)
    texts, expected = [f"how many cats ? \n {CAPTION}", "are there cats ?", "(A) one (B) two"], []
    for text in texts:
        ids = tokenizer(text, return_tensors="pt")["input_ids"]
        said = torch.zeros((1, 1), dtype=torch.long)
        with torch.inference_mode():
            for _ in range(30):
                logits = model(input_ids=ids, decoder_input_ids=said).logits[0, -1]
                said = torch.cat([said, logits.argmax()[None, None]], dim=1)
                if said[0, -1] == tokenizer.eos_token_id:
                    break
        expected.append(tokenizer.decode(said[0], skip_special_tokens=True))
    assert [answer([text])[0] for text in texts] == expected
    assert answer(texts * 7) == expected * 7  # more than a batch, of several lengths
    assert answer([]) == []


def test_the_command_drops_what_the_model_cannot_answer(tmp_path):
    write_model(tmp_path / "qa")
    prompts, out = tmp_path / "mine.txt", tmp_path / "benchmark.parquet"
    prompts.write_text("a red star\ntwo blue rings\n")
    command = ["questions", "tifa", "--prompts", str(prompts), "--out", str(out)]
    pocket = ["--backend", "pocket", "--model", MODEL, "--revision", REVISION]
    assert main([*command, *pocket, "--unifiedqa", str(tmp_path / "qa")]) == 0
    about, rows = read_about(out), read_table(out, "benchmark")
    dropped = about["unifiedqa"]["dropped"]
    left = sum(len(row["questions"]) for row in rows)
    assert len(rows) == 2
    assert left + sum(dropped.values()) == about["counts"]["questions"]
    assert dropped["another choice"] > 0


def test_a_folder_without_a_model_and_weights_that_do_not_fit_are_told(tmp_path):
    with pytest.raises(MissingDataError, match=r"config\.json"):
        load_unified_qa(tmp_path)
    write_model(tmp_path)
    path = tmp_path / "model.safetensors"
    tensors = load_file(path)
    del tensors["decoder.final_layer_norm.weight"]
    save_file(tensors, path, metadata={"format": "pt"})
    with pytest.raises(RecordError, match="decoder.final_layer_norm.weight"):
        load_unified_qa(tmp_path)
