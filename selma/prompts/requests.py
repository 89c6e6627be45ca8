"""The text of a request to the LLM."""

import random
from collections.abc import Sequence

REQUEST_VERSION = 1  # raise it when the text changes: replies, and so prompts, change with it


def build_request(instructions: str, examples: Sequence[str], number: int) -> str:
    """Ask for `number` new prompts like the examples, as a numbered list."""
    listed = "\n".join(f"{place}. {prompt}" for place, prompt in enumerate(examples, start=1))
    return (
        f"{instructions.strip()}\n\n"
        f"Examples:\n{listed}\n\n"
        f"Write {number} new prompts as a numbered list, one prompt on each line. "
        "Each must differ from the examples and from each other. "
        "Write nothing but the list.\n"
    )


def pick_examples(prompts: Sequence[str], number: int, seed: int) -> list[str]:
    """Draw `number` different prompts, or all in random order if there are fewer."""
    return random.Random(seed).sample(prompts, min(number, len(prompts)))
