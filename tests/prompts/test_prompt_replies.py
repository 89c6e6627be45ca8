"""The reply parser on lists as LLMs write them."""

import pytest

from selma.core.errors import ReplyError
from selma.prompts.replies import parse_reply

RED, BLUE, GREEN = "a red circle", "3 blue stars", "a green heart on black"
WANTED = (RED, BLUE, GREEN)


@pytest.mark.parametrize(
    "reply",
    [
        f"1. {RED}\n2. {BLUE}\n3. {GREEN}",
        f"1) {RED}\r\n2) {BLUE}\r\n3) {GREEN}\r\n",
        f"(1) {RED}\n(2) {BLUE}\n(3) {GREEN}",
        f"1: {RED}\n2: {BLUE}\n3: {GREEN}",
        f"1 - {RED}\n2 - {BLUE}\n3 – {GREEN}",
        f"#1. {RED}\n#2. {BLUE}\n#3. {GREEN}",
        f"Prompt 1: {RED}\nPrompt 2: {BLUE}\nPrompt 3: {GREEN}",
        f"- {RED}\n- {BLUE}\n- {GREEN}",
        f"* {RED}\n* {BLUE}\n• {GREEN}",
        f"- 1. {RED}\n- 2. {BLUE}\n- 3. {GREEN}",
        f"1. \"{RED}\"\n2. “{BLUE}”\n3. '{GREEN}'",
        f'1. "{RED}",\n2. "{BLUE}",\n3. "{GREEN}"',
        f"**1.** {RED}\n**2.** {BLUE}\n**3.** {GREEN}",
        f"**1. {RED}**\n**2. {BLUE}**\n**3. {GREEN}**",
        f"1. **{RED}**\n2. *{BLUE}*\n3. `{GREEN}`",
        f"1. **Round:** {RED}\n2. **Many**: {BLUE}\n3. **Dark:** {GREEN}",
        f"1. {RED}\n\n2. {BLUE}\n\n\n3. {GREEN}",
        f"1.\n{RED}\n2.\n{BLUE}\n3.\n{GREEN}",
        f"   1. {RED}\n   2. {BLUE}\n   3. {GREEN}",
        f"1. a red\n   circle\n2. {BLUE}\n3. a green heart on\nblack",
        f"1. {RED}\n{BLUE}\n3. {GREEN}",
        f"{RED}\n2. {BLUE}\n3. {GREEN}",
        f"1. {RED}\n2. {BLUE}\n{GREEN}",
        f"{RED}\n{BLUE}\n{GREEN}",
    ],
)
def test_every_form_of_list_gives_the_same_prompts(reply: str):
    parsed = parse_reply(reply, 3)
    assert parsed.prompts == WANTED
    assert parsed.rejected == ()


def test_talk_around_the_list_is_rejected_and_told():
    reply = (
        f"Sure! Here are 3 new prompts:\n\n1. {RED}\n2. {BLUE}\n3. {GREEN}\n\n"
        "Let me know if you need more!\nThey are all about shapes."
    )
    parsed = parse_reply(reply, 3)
    assert parsed.prompts == WANTED
    assert [rejected.line for rejected in parsed.rejected] == [
        "Sure! Here are 3 new prompts:",
        "Let me know if you need more!",
        "They are all about shapes.",
    ]


def test_talk_does_not_fill_a_gap_in_the_numbers():
    parsed = parse_reply(f"Here is the list:\n{RED}\n2. {BLUE}\nI hope this helps.", 3)
    assert parsed.prompts == (RED, BLUE)


def test_code_fences_are_no_prompts():
    assert parse_reply(f"```text\n1. {RED}\n2. {BLUE}\n```", 2).prompts == (RED, BLUE)


def test_thoughts_before_the_list_are_no_prompts():
    reply = f"<think>\n1. a draft\n2. another\n</think>\n1. {RED}\n2. {BLUE}"
    assert parse_reply(reply, 2).prompts == (RED, BLUE)


def test_a_prompt_said_twice_is_kept_once():
    parsed = parse_reply(f"1. {RED}\n2. A red circle\n3. {BLUE}", 3)
    assert parsed.prompts == (RED, BLUE)
    assert [rejected.reason for rejected in parsed.rejected] == ["repeated in the reply"]


def test_a_number_in_a_prompt_is_not_taken_off():
    parsed = parse_reply("1. 3 red circles\n2. 10 stars\n3. a clock at 10:30", 3)
    assert parsed.prompts == ("3 red circles", "10 stars", "a clock at 10:30")


def test_more_items_than_asked_for_are_read():
    assert len(parse_reply("\n".join(f"{n}. item {n}" for n in range(1, 13)), 10).prompts) == 12


def test_numbering_that_starts_anew_is_read():
    assert parse_reply(f"1. {RED}\n2. {BLUE}\n1. {GREEN}", 3).prompts == WANTED


def test_items_without_words_or_too_long_are_rejected():
    parsed = parse_reply(f"1. {RED}\n2. ???\n3. {'red ' * 300}", 3)
    assert parsed.prompts == (RED,)
    assert len(parsed.rejected) == 2


@pytest.mark.parametrize(
    "reply",
    ["", "\n \n", "I'm sorry, I can't help with that.", "Sure! Here are 10 prompts:", "1.\n2.\n3."],
)
def test_a_reply_without_prompts_is_an_error_that_keeps_it(reply: str):
    with pytest.raises(ReplyError) as caught:
        parse_reply(reply, 10)
    assert caught.value.reply == reply
