"""How a judge's reply becomes the answer that is scored; the normaliser is part of a score's name.

DSG's rule counts the exact string "yes" and nothing else, and chat models say "Yes." or more.
"""

from collections.abc import Callable

_GPT4O_HELPER_DELETES = str.maketrans("", "", ".,?!")


def gpt4o_helper(text: str) -> str:
    """Lower-case, strip outer white space, then delete ``. , ? !``, as DSG's helper for GPT-4o.

    A whole sentence stays one and is no "yes"; ask with the template "yes-no", as that helper does.
    """
    return text.lower().strip().translate(_GPT4O_HELPER_DELETES)


def first_word(text: str) -> str:
    """Keep the first word in lower case, letters and digits alone: "Yes, it is." becomes "yes".

    No published score is made so. It also takes "Yesterday's cat" for "yesterdays", not "yes".
    """
    words = text.split()
    return "".join(filter(str.isalnum, words[0].lower())) if words else ""


NORMALISERS: dict[str, Callable[[str], str]] = {
    "as-is": str,  # nothing changes: the rule of DSG's helpers for mPLUG and InstructBLIP
    "first-word": first_word,
    "gpt4o-helper": gpt4o_helper,
}
