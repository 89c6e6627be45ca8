"""The texts of the requests by which an LLM writes questions about a prompt's picture."""

from collections.abc import Sequence

# Raise a request's number when its text changes: replies, and so questions, change with it.
REQUEST_VERSIONS = {"tuples": 1, "dependencies": 1, "questions": 1, "choices": 1}

_TUPLES = """\
A picture will be made from a prompt. We want to check the picture piece by piece, so the prompt has
to be taken apart into statements that say one thing each and can be true or false on their own.

Write each statement on a line of its own:
id | type (arguments)

The ids count 1, 2, 3 and so on. The types are:
entity - whole (thing)                       the thing is in the picture
entity - part (owner's part)                 a part, or something worn, of a thing
attribute - color (thing, color)             in the same way: size, shape, material, texture, type,
                                             style, state; name another kind if none of these fits
relation - spatial (thing, thing, where)     where the first stands as seen from the second
relation - action (thing, thing, action)     what the first does to the second
other - count (things, ==number)             how many there are; only if the prompt tells
other - text rendering (thing, "words")      words that can be read on the thing
global - style (value)                       something that holds for the picture as a whole:
                                             style, medium, lighting, viewpoint, background

Put every thing down as an entity before you say anything else about it, and call it by the same
name each time. Leave nothing out that the prompt says, and add nothing that it does not say. Make
no statement twice. Write nothing but the lines.

Prompt: two wet otters asleep on a flat gray stone, pencil drawing
Tuples:
1 | entity - whole (otters)
2 | entity - whole (stone)
3 | other - count (otters, ==2)
4 | attribute - texture (otters, wet)
5 | attribute - state (otters, asleep)
6 | attribute - shape (stone, flat)
7 | attribute - color (stone, gray)
8 | relation - spatial (otters, stone, on)
9 | global - style (pencil drawing)

Prompt: The baker with a striped apron hands a paper bag that reads "RYE" to a child.
Tuples:
1 | entity - whole (baker)
2 | entity - part (baker's apron)
3 | entity - whole (bag)
4 | entity - whole (child)
5 | attribute - texture (baker's apron, striped)
6 | attribute - material (bag, paper)
7 | other - text rendering (bag, "RYE")
8 | relation - action (baker, bag, hand over)
9 | relation - action (baker, child, give something to)
"""

_EXAMPLE = """\
Prompt: two wet otters asleep on a flat gray stone, pencil drawing
Tuples:
1 | entity - whole (otters)
2 | entity - whole (stone)
3 | other - count (otters, ==2)
4 | attribute - color (stone, gray)
5 | relation - spatial (otters, stone, on)
6 | global - style (pencil drawing)
"""

_DEPENDENCIES = f"""\
A prompt was taken apart into statements about its picture. Some of them make no sense unless
others hold: when there is no lamp, nobody can ask whether the lamp is lit. Tell for each statement
which others it needs directly.

Write one line for every id:
id | ids that it needs, with commas between them, or 0 if it needs none

A statement never needs itself, and two statements never need each other. Statements about the
picture as a whole need none. Write nothing but the lines.

{_EXAMPLE}Dependencies:
1 | 0
2 | 0
3 | 1
4 | 2
5 | 1,2
6 | 0
"""

_QUESTIONS = f"""\
A prompt was taken apart into statements about its picture. Turn each statement into one question
that somebody who sees the picture, but neither the prompt nor the other questions, can answer. The
answer must be "yes" if the statement holds and "no" if it does not.

Write one line for every id:
id | question

Each line holds one question and ends with a question mark. Begin with a verb such as Is, Are or
Does, never with What, Which or How. Write nothing but the lines.

{_EXAMPLE}Questions:
1 | Are there otters?
2 | Is there a stone?
3 | Are there exactly two otters?
4 | Is the stone gray?
5 | Are the otters on the stone?
6 | Is this a pencil drawing?
"""

_CHOICES = """\
A picture will be made from a caption. Write quiz questions that show, by their answers, whether the
picture has everything that the caption tells of. Somebody who sees the picture but not the caption
answers them.

Go through the elements of the caption one after the other. An element is a thing, a place, what
somebody does, a color, a number and so on. For each, ask one question whose answer is yes, and one
with four choices where the caption gives a single right one. The wrong choices are of the same kind
as the right one and must be wrong for the picture.

Each question takes five lines, with an empty line after them:
Element: the words of the caption that it is about
Type: one of animal/human, object, location, activity, color, spatial, attribute, food, counting,
material, other, shape
Question: the question
Choices: yes, no - or four choices with commas between them, so that no choice has a comma in it
Answer: one of the choices, letter by letter

Ask nothing twice. Write nothing but these lines.

Caption: Two wet otters asleep on a flat gray stone
Element: otters
Type: animal/human
Question: Are there otters?
Choices: yes, no
Answer: yes

Element: otters
Type: animal/human
Question: Which animals are in the picture?
Choices: beavers, seals, otters, ducks
Answer: otters

Element: two
Type: counting
Question: How many otters are there?
Choices: one, two, three, five
Answer: two

Element: asleep
Type: activity
Question: What are the otters doing?
Choices: swimming, sleeping, eating, fighting
Answer: sleeping

Element: gray
Type: color
Question: What color is the stone?
Choices: brown, white, red, gray
Answer: gray
"""


def tuples_request(prompt: str, refused: str) -> str:
    """Ask for the statements of a prompt.

    Args:
        prompt: the prompt; white space, also line breaks, becomes single spaces.
        refused: why the last reply could not be used; "" if this is the first.
    """
    return _put_together(_TUPLES, refused, [f"Prompt: {_one_line(prompt)}", "Tuples:"])


def dependencies_request(prompt: str, tuples: Sequence[str], refused: str) -> str:
    """Ask which of the statements, numbered from 1, need which; else as `tuples_request`."""
    return _about_tuples(_DEPENDENCIES, "Dependencies:", prompt, tuples, refused)


def questions_request(prompt: str, tuples: Sequence[str], refused: str) -> str:
    """Ask for one question for each statement, numbered from 1; else as `tuples_request`."""
    return _about_tuples(_QUESTIONS, "Questions:", prompt, tuples, refused)


def choices_request(prompt: str, refused: str) -> str:
    """Ask for questions with choices about a caption; else as `tuples_request`."""
    return _put_together(_CHOICES, refused, [f"Caption: {_one_line(prompt)}"])


def _about_tuples(
    instructions: str, wanted: str, prompt: str, tuples: Sequence[str], refused: str
) -> str:
    numbered = [f"{number} | {text}" for number, text in enumerate(tuples, start=1)]
    end = [f"Prompt: {_one_line(prompt)}", "Tuples:", *numbered, wanted]
    return _put_together(instructions, refused, end)


def _put_together(instructions: str, refused: str, end: Sequence[str]) -> str:
    # A model that decodes greedily repeats its reply for any seed, unless the request changes.
    warning = f"An earlier reply could not be used: {_one_line(refused)}.\n\n" if refused else ""
    return f"{instructions}\n{warning}" + "\n".join(end) + "\n"


def _one_line(text: str) -> str:
    return " ".join(text.split())
