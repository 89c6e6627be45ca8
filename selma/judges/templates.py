"""How a question becomes the text that a judge reads; the template is part of a score's name."""

from collections.abc import Callable

from selma.judges.protocol import Question

Template = Callable[[Question], str]


def bare(question: Question) -> str:
    """Ask the question alone, as DSG asks mPLUG and InstructBLIP; choices are not shown."""
    return question.question


def tifa_official(question: Question) -> str:
    """Show the choices as the package of TIFA's authors does for BLIP-2."""
    if not question.choices:
        return question.question
    asked = f"Question: {question.question} Choices: {', '.join(question.choices)} Answer:"
    return f"Answer the multiple-choice question. {asked}"


def tifa_selma(question: Question) -> str:
    """Show the choices as SELMA's evaluation does for BLIP-2."""
    if not question.choices:
        return f"Question: {question.question} Answer:"
    return f"Question: {question.question} Options: {', '.join(question.choices)} Answer:"


def yes_no(question: Question) -> str:
    """Ask for yes or no alone, as DSG's GPT-4o helper does."""
    return f"{question.question} answer only yes or no"


TEMPLATES: dict[str, Template] = {
    "bare": bare,
    "tifa-official": tifa_official,
    "tifa-selma": tifa_selma,
    "yes-no": yes_no,
}
