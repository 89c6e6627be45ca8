"""Keeps the TIFA questions that a text model answers right from the caption without the picture.

Source: TIFA, arXiv 2303.11897, section 3.2, there with allenai/unifiedqa-v2-t5-large-1363200. Where
we differ from the code of TIFA's authors: the key is put in lower case and without punctuation for
the free-form comparison, as the answer is there; and number words are read up to twenty.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from selma.core.errors import MissingDataError, RecordError, one_line

logger = logging.getLogger(__name__)
F1_ABOVE = 0.6
_LETTERS = "ABCD"  # the model knows up to four choices; more are not shown
_MAX_NEW_TOKENS = 30
_YES_NO = ("yes", "no")
_NUMBER_WORDS = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten",
    "eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen",
    "nineteen", "twenty",
)  # fmt: skip
_DIGITS = {word: str(number) for number, word in enumerate(_NUMBER_WORDS)}

AnswerText = Callable[[str], str]  # the model's input → its answer


def load_unified_qa(directory: Path) -> AnswerText:
    """Load a text-to-text model that answers questions, in float32; it decodes greedily.

    `directory` is in transformers' layout with safetensors weights: MissingDataError if there is no
    model in it, RecordError if its files do not fit each other.
    """
    import torch
    from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

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
    model.eval()

    def answer(text: str) -> str:
        inputs = tokenizer(text, return_tensors="pt")
        with torch.inference_mode():
            options = {"max_new_tokens": _MAX_NEW_TOKENS, "do_sample": False, "num_beams": 1}
            asked = {name: inputs[name] for name in ("input_ids", "attention_mask")}
            ids = model.generate(**asked, **options)
        return str(tokenizer.decode(ids[0], skip_special_tokens=True))

    return answer


def filter_questions(
    caption: str, questions: Sequence[Mapping[str, Any]], answer: AnswerText
) -> tuple[list[dict[str, Any]], dict[str, int]]:
    """Keep a row's questions whose key the model finds, numbered from 1, and count the dropped.

    It must choose the key, letter by letter, among the choices; and unless the key is yes or no,
    its answer without choices must share words with the key (`token_f1` above 0.6). A question
    asked before is dropped.
    """
    kept: list[dict[str, Any]] = []
    dropped = {"repeated question": 0, "another choice": 0, "another free answer": 0}
    asked: set[str] = set()
    for question in questions:
        text, key = question["question"], question["answer"]
        if text in asked:
            dropped["repeated question"] += 1
        elif answer(choice_input(text, caption, question["choices"])) != key:
            dropped["another choice"] += 1
        elif key not in _YES_NO and token_f1(key, answer(f"{text} \n {caption}")) <= F1_ABOVE:
            dropped["another free answer"] += 1
        else:
            kept.append({**question, "question_id": len(kept) + 1})
        asked.add(text)
    return kept, dropped


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
