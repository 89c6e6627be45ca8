"""Keeps the TIFA questions that a text model answers right from the caption without the picture.

Source: TIFA, arXiv 2303.11897, section 3.2, there with allenai/unifiedqa-v2-t5-large-1363200. Where
we differ from the code of TIFA's authors: the key is put in lower case and without punctuation for
the free-form comparison, as the answer is there; and number words are read up to twenty.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.devices import check_device, full_float32
from selma.core.errors import MissingDataError, RecordError, one_line

logger = logging.getLogger(__name__)
F1_ABOVE = 0.6
_LETTERS = "ABCD"  # the model knows up to four choices; more are not shown
_MAX_NEW_TOKENS = 30
_TEXTS_PER_BATCH = 16
_YES_NO = ("yes", "no")
_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}

AnswerTexts = Callable[[Sequence[str]], list[str]]  # the model's inputs → its answers


def load_unified_qa(directory: Path, *, device: str = "cpu") -> AnswerTexts:
    """Load a text-to-text model that answers questions, in float32; it decodes greedily.

    It reads a few texts at a time, with the same answers as one by one. `directory` is in
    transformers' layout with safetensors weights: MissingDataError if there is no model in it,
    RecordError if its files do not fit each other.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

    check_device(device)
    if not (directory / "config.json").is_file():
        raise MissingDataError(f"{directory}/config.json: not found; expected a model's folder")
    try:
        tokenizer = AutoTokenizer.from_pretrained(directory, local_files_only=True)
        options = {"dtype": torch.float32, "use_safetensors": True, "output_loading_info": True}
        model, report = AutoModelForSeq2SeqLM.from_pretrained(
            directory, local_files_only=True, **options
        )
    except (OSError, ValueError, RuntimeError) as error:
        raise RecordError(f"{directory}: not a text-to-text model: {one_line(error)}") from error
    wrong = {name: sorted(keys) for name, keys in report.items() if keys}
    if wrong:
        raise RecordError(f"{directory}: weights and config.json do not fit: {wrong}")
    model.eval().to(device)
    tokenizer.padding_side = "right"  # T5 counts distances, which padding before a text would move

    def answer(texts: Sequence[str]) -> list[str]:
        answers: list[str] = []
        options = {"max_new_tokens": _MAX_NEW_TOKENS, "do_sample": False, "num_beams": 1}
        for start in range(0, len(texts), _TEXTS_PER_BATCH):
            batch = list(texts[start : start + _TEXTS_PER_BATCH])
            inputs = tokenizer(batch, padding=True, return_tensors="pt").to(device)
            asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            with torch.inference_mode(), full_float32():
                ids = model.generate(**asked, **options)
            answers += tokenizer.batch_decode(ids, skip_special_tokens=True)
        return answers

    return answer


def filter_questions(
    caption: str, questions: Sequence[Mapping[str, Any]], answer: AnswerTexts
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Keep a row's questions whose key the model finds, numbered from 1, and count the dropped.

    It must choose the key, letter by letter, among the choices; and unless the key is yes or no,
    its answer without choices must share words with the key (`token_f1` above 0.6). A question
    asked before is dropped.
    """
    first = {one["question"]: one for one in reversed(questions)}
    asked = [one for one in questions if first[one["question"]] is one]
    chosen = answer([choice_input(one["question"], caption, one["choices"]) for one in asked])
    right = [one for one, said in zip(asked, chosen, strict=True) if said == one["answer"]]
    texts = [one["question"] for one in right if one["answer"] not in _YES_NO]
    free = answer([f"{text} \n {caption}" for text in texts])
    f1 = {
        text: token_f1(first[text]["answer"], said) for text, said in zip(texts, free, strict=True)
    }
    kept = [one for one in right if f1.get(one["question"], 1.0) > F1_ABOVE]
    dropped = {
        "repeated question": len(questions) - len(asked),
        "another choice": len(asked) - len(right),
        "another free answer": len(right) - len(kept),
    }
    return [{**one, "question_id": number} for number, one in enumerate(kept, start=1)], dropped


def choice_input(question: str, caption: str, choices: Sequence[str]) -> str:
    """Write question, caption and up to four lettered choices as UnifiedQA was trained to read."""
    lettered = zip(_LETTERS, choices, strict=False)
    shown = "".join(f"({letter}) {choice} " for letter, choice in lettered)
    return f"{question} \n {caption} \n {shown}"


def token_f1(key: str, answer: str) -> float:
    """Compare words: the harmonic mean of the shares of each one's words that are in the other.

    Case and punctuation do not matter; where the key is a number, number words are read.
    """
    wanted, given = _words(key), _words(answer)
    if key.isdecimal():
        given = [_DIGITS.get(word, word) for word in given]
    found = sum(word in given for word in wanted)
    wrong = sum(word not in wanted for word in given)
    if not found:
        return float(wanted == given)
    precision, recall = found / (found + wrong), found / len(wanted)
    return 2 * precision * recall / (precision + recall)


def _words(text: str) -> list[str]:
    return "".join(c for c in text.lower() if c.isalnum() or c.isspace()).split()
