"""Compares selma's ROUGE-L index with rouge-score: seconds for the same nearest-prompt queries."""

import random
import time

from rouge_score.rouge_scorer import RougeScorer

from selma.pocket.skills import DRAW, TRAINED_SKILLS, write_prompt
from selma.prompts.diversity import PromptIndex

STORED = 1000  # prompts per skill in the paper
QUERIES = 20


def main() -> None:
    """Print one row per skill; both sides answer the same queries in this process."""
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    print(f"nearest of {STORED} prompts, seconds per query (mean of {QUERIES})")
    print(f"{'skill':15}{'rouge-score':>13}{'selma':>13}{'ratio':>9}{'largest difference':>20}")
    for skill in TRAINED_SKILLS:
        rng = random.Random(0)
        prompts = [write_prompt(skill, DRAW[skill](rng), rng) for _ in range(STORED + QUERIES)]
        stored, queries = prompts[:STORED], prompts[STORED:]
        start = time.perf_counter()
        theirs = [
            max(scorer.score(prompt, query)["rougeL"].fmeasure for prompt in stored)
            for query in queries
        ]
        middle = time.perf_counter()
        index = PromptIndex()
        for number, prompt in enumerate(stored):
            index.add(str(number), prompt)
        built = time.perf_counter()
        ours = [index.nearest(query).rouge_l for query in queries]
        end = time.perf_counter()
        difference = max(abs(a - b) for a, b in zip(ours, theirs, strict=True))
        slow, fast = (middle - start) / QUERIES, (end - built) / QUERIES
        print(f"{skill:15}{slow:13.6f}{fast:13.6f}{slow / fast:9.0f}{difference:20.1e}")


if __name__ == "__main__":
    main()
