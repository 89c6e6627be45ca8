"""Small benchmarks in the public files' formats, read by the real importers."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

DSG = {
    "vrd_0": ("a red cat left of a blue dog", "entity", [
        ("Is there a cat?", "0"), ("Is there a dog?", "0"), ("Is the cat red?", "1"),
        ("Is the dog blue?", "2"), ("Is the cat left?", "1,2")]),
    "vrd_1": ("two dogs under a tree", "entity", [
        ("Is there a dog?", "0"), ("Is there a tree?", "0"), ("Is the dog under it?", "1,2")]),
    "countbench_0": ("two red cars", "attribute", [
        ("Is there a car?", "0"), ("Is the car red?", "1"), ("Is there one of two?", "1")]),
    "countbench_1": ("three yellow birds on a car", "attribute", [
        ("Is there a bird?", "0"), ("Is the bird yellow?", "1")]),
}  # fmt: skip
TIFA = {
    "coco_1": ("a cat on a car", [
        ("is there a cat?", ["yes", "no"], "yes"),
        ("what is on the car?", ["cat", "dog", "bird"], "cat")]),
    "coco_2": ("a white dog", [("what colour is the dog?", ["white", "red", "blue"], "white")]),
    "paintskill_1": ("two birds", [("is there a bird?", ["yes", "no"], "no")]),
}  # fmt: skip


def write_dsg(folder: Path) -> Path:
    """Write a few prompts as DSG-1k's file has them."""
    path = folder / "dsg-1k-anns.csv"
    columns = ["item_id", "text", "keywords", "proposition_id", "dependency", "category_broad"]
    columns += ["category_detailed", "tuple", "question_natural_language"]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(columns)
        for item, (text, kind, questions) in DSG.items():
            for number, (question, parents) in enumerate(questions, start=1):
                element = f"{kind} - whole ({number})"
                rows.writerow([item, text, "-", number, parents, kind, "whole", element, question])
    return path


def write_tifa(folder: Path) -> Path:
    """Write a few prompts as TIFA v1.0's file has them."""
    path = folder / "tifa_v1.0_question_answers.json"
    entries = [
        {"id": item, "caption": text, "question": question, "choices": choices, "answer": answer,
         "element_type": "object", "element": "x"}
        for item, (text, questions) in TIFA.items()
        for question, choices, answer in questions
    ]  # fmt: skip
    path.write_text(json.dumps(entries), encoding="utf-8")
    return path


PUBLIC_FILES: dict[str, Callable[[Path], Path]] = {"dsg1k": write_dsg, "tifa": write_tifa}
