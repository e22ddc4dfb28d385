"""The pictures of the README: there, small, and shown."""

import pytest

from tests.console.pictures import FOLDER, MAX_BYTES


@pytest.mark.parametrize("name", ["logs-light.png", "logs-dark.png"])
def test_the_readme_shows_a_small_picture(name: str) -> None:
    picture = (FOLDER / name).read_bytes()
    assert picture.startswith(b"\x89PNG")
    assert len(picture) <= MAX_BYTES
    assert f'"docs/pictures/{name}"' in (FOLDER.parents[1] / "README.md").read_text()
