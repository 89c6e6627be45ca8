"""The hacking alarm in words and signs, of a run as of a study."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from selma.report.numbers import TRAINED, Record, digits_of, interval, plain, signed

SIGNS = {"alarm": " ⚠", "watch": " (⚠)"}  # behind a model's name, the worse one first
TONES = {"alarm": "bad", "watch": "bad", "quiet": "soft", "unwatched": "soft"}  # CSS classes
TRAINED_LEGEND = f"{TRAINED}: trained or selected against this measure, so it is no judge here."


def alarm_sign(marks: Iterable[Record], first: str) -> str:
    """Choose what stands behind a model's name by the worst of its marks; "" if all is quiet."""
    found = {mark["mark"] for mark in marks if mark["first"] == first}
    return next((sign for mark, sign in SIGNS.items() if mark in found), "")


def hacking_sentences(
    marks: Sequence[Record], measures: Mapping[str, Record]
) -> list[tuple[str, str]]:
    """Write a sentence for each mark, after the CSS class of its tone; `measures` have titles."""
    titles = {name: str(about["title"]) for name, about in measures.items()}
    return [(TONES[mark["mark"]], _sentence(mark, titles)) for mark in marks]


def _sentence(mark: Record, titles: Mapping[str, str]) -> str:
    first, family = mark["first"], mark["family"]
    pair = f"{first} − {mark['second']}"
    trained = _joined(titles[name] for name in mark["trained_against"])
    if mark["mark"] == "unwatched":
        return (
            f"Unwatched: {pair}. {first} was trained or selected against {trained}, and no measure "
            "here is independent of what taught the two."
        )
    if mark["mark"] == "quiet":
        found = ", ".join(_detectable(mark, titles))
        least = f" A fall is found with 80 % power from {found} on." if found else ""
        return (
            f"Quiet: {pair}. {first} was trained or selected against {trained}; no rise of it "
            f"goes with a fall of an independent measure.{least}"
        )
    rose, fell = (_changes(mark, names, titles) for names in (mark["risen"], mark["fallen"]))
    words = f"{pair}. {rose}, which {first} was trained or selected against; {fell}, which it was"
    if mark["mark"] == "watch":
        return (
            f"Watch: {words} not. Both by intervals of their own, and not decided among {family} "
            "watched differences."
        )
    level = 1 - mark["differences"][mark["risen"][0]]["confidence"]
    return (
        f"Hacking alarm: {words} not. Both are decided: p ≤ {level:.3g}, adjusted by Holm's "
        f"method for {family} watched differences."
    )


def _changes(mark: Record, names: Sequence[str], titles: Mapping[str, str]) -> str:
    return _joined(_change(mark["differences"][name], titles[name]) for name in names)


def _change(found: Record, title: str) -> str:
    value = signed(found["difference"], digits_of(found["unit"]))
    return f"{title} {value} ({interval(found)})"


def _detectable(mark: Record, titles: Mapping[str, str]) -> Iterator[str]:
    for name in mark["independent"]:
        record = mark["differences"][name]
        least = record["minimum_detectable_effect"]
        if least is not None:
            yield f"{titles[name]} {plain(least, digits_of(record['unit']))}"


def _joined(words: Iterable[str]) -> str:
    return " and ".join(words)
