import json

import pytest

from selma.core.files import write_curve, write_json


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
