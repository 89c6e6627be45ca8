import json

import pytest

from selma.core import errors
from selma.core.files import write_curve, write_json, written_whole


def test_json_is_sorted_readable_and_never_nan(tmp_path):
    path = tmp_path / "made/value.json"
    write_json(path, {"b": "Größe", "a": 1})
    assert path.read_text(encoding="utf-8") == '{\n  "a": 1,\n  "b": "Größe"\n}\n'
    with pytest.raises(ValueError, match="JSON compliant"):
        write_json(path, {"a": float("nan")})
    assert json.loads(path.read_text(encoding="utf-8"))["a"] == 1
    assert [file.name for file in path.parent.iterdir()] == ["value.json"]


def test_a_curve_holds_the_mean_of_every_ten_steps(tmp_path):
    columns = {"loss": [*[1.0] * 10, 2.0, 4.0], "gradient_norm": [*[0.5] * 10, 1.0, 2.0]}
    write_curve(tmp_path / "curve.csv", columns)
    text = (tmp_path / "curve.csv").read_text(encoding="utf-8")
    assert text == "step,loss,gradient_norm\n10,1.000000,0.500000\n12,3.000000,1.500000\n"


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (OSError(28, "No space left on device"), "value"),
        (OSError(13, "Permission denied", "elsewhere"), "elsewhere"),
    ],
)
def test_a_file_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, raised, told):
    with pytest.raises(OSError, match=raised.strerror) as caught, written_whole(tmp_path / "value"):
        raise raised
    assert caught.value.filename.endswith(told)
    assert not list(tmp_path.iterdir())


def test_a_library_that_names_neither_file_nor_number_is_told_with_the_file(tmp_path):
    with pytest.raises(OSError, match=r"value: it broke"), written_whole(tmp_path / "value"):
        raise OSError("it broke")


def test_each_kind_of_problem_has_its_exit_code():
    kinds = {kind.__name__: kind.exit_code for kind in vars(errors).values()
             if isinstance(kind, type) and issubclass(kind, errors.SelmaError)}  # fmt: skip
    known = {"SelmaError": 2, "ConfigError": 2, "RecordError": 2, "MissingDataError": 3}
    assert {name: kinds[name] for name in known} == known
    assert set(kinds.values()) <= {2, 3, 4, 5, 6}
