"""A folder in which `selma correct` runs."""

import pytest
from PIL import Image
from tiny_world import correct_section, tiny_params, write_params


@pytest.fixture
def place(tmp_path, tiny_models, monkeypatch):
    """A folder with params, models and pictures, in which commands run."""
    llm = {"backend": "openai", "model": "some-llm", "retries": 0}
    section = correct_section(rounds=0, keep="fixed_or_original")
    write_params(tmp_path, tiny_params(llm=llm, correct=section))
    (tmp_path / "models").mkdir()
    (tmp_path / "models/pocket").symlink_to(tiny_models / "models/pocket", target_is_directory=True)
    (tmp_path / "in/sub").mkdir(parents=True)
    Image.new("RGB", (32, 32), "navy").save(tmp_path / "in/plain.png")
    Image.new("RGBA", (48, 24), (200, 0, 0, 90)).save(tmp_path / "in/sub/clear.png")
    Image.new("L", (20, 40), 90).save(tmp_path / "in/grey.jpg")
    (tmp_path / "in/broken.png").write_bytes(b"no picture")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    return tmp_path
