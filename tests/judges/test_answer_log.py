"""What a judge said is kept under the question's own key, for the same judge alone."""

import pytest

from selma.core.errors import RecordError
from selma.judges.answer_log import AnswerLog


def test_replies_are_found_again_under_the_whole_key(tmp_path):
    log = AnswerLog(tmp_path / "log.jsonl", {})
    log.put(("a", 0, "old"), ["1", "yes"])
    for opened in (log, AnswerLog(tmp_path / "log.jsonl", {})):
        assert opened.get(("a", 0, "old")) == ["1", "yes"]
        assert opened.get(("a", 0, "new")) is None
        assert opened.get(("a", 0)) is None


def test_a_log_of_another_judge_is_not_taken_up_and_nothing_shall_be_deleted(tmp_path):
    AnswerLog(tmp_path / "log.jsonl", {"judge": "one", "beams": 5})
    with pytest.raises(RecordError, match="judge: 'one' there, 'other' now.*move it away"):
        AnswerLog(tmp_path / "log.jsonl", {"judge": "other", "beams": 5})


def test_a_line_that_is_whole_and_no_json_is_named(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_text("{}\nnonsense\n")
    with pytest.raises(RecordError, match=r"log.jsonl:2: not JSON .*move the file away"):
        AnswerLog(path, {})
