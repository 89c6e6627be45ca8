"""Which replies of a judge are no answer: refusals, nothing, or no yes and no no."""

import re
from typing import NamedTuple

_REFUSAL = re.compile(
    r"(as an? (ai|language model)\b"
    r"|((i am|i'm|we are|we're) )?(so |very |really )?(sorry|afraid)\b"
    r"|((i am|i'm|we are|we're) )?(not able|unable) to\b"
    r"|((i|we) )?(cannot|can not|can't|could not|couldn't|am not able to|do not|don't)"
    r" (answer|assist|comply|describe|determine|help|identify|know|provide|see|tell|view)\b"
    r"|(it is|it's) (impossible|not possible) to\b"
    r"|n/?a$|unanswerable$)"
)


class Reply(NamedTuple):
    """A judge's reply: the answer that a normaliser made of it, and its own words."""

    answer: str
    raw: str


def is_not_yes_or_no(reply: Reply) -> bool:
    """Tell whether a reply is no answer to a yes/no question, as all of DSG's are.

    Only "yes" and "no" answer it, in any case and with any marks around them.
    """
    return re.sub(r"[\W_]+", " ", reply.answer).strip().casefold() not in ("yes", "no")


def is_refusal(reply: Reply) -> bool:
    """Tell whether a reply is no answer to a multiple-choice question, as all of TIFA's are.

    All words are an answer but those of a refusal: a mapping finds the choice that they mean.
    """
    words = " ".join(reply.raw.replace("’", "'").casefold().split()).strip(" .!?*\"'")
    return not re.search(r"\w", words) or _REFUSAL.match(words) is not None
