"""Four parts together are a whole search, and a commit takes one of them."""

import pytest

from tests import parts


@pytest.mark.parametrize("count", [3, 40, 6000])
def test_the_parts_are_the_whole(count, monkeypatch):
    cases = []
    for part in range(parts.PARTS):
        monkeypatch.setenv("MINIGEN_PART", str(part))
        first, some = parts.share(count)
        cases += range(first, first + some)
    monkeypatch.setenv("MINIGEN_PART", "all")
    assert cases == [*range(count)] and parts.share(count) == (0, count)


def test_a_commit_takes_a_part(monkeypatch):
    monkeypatch.delenv("MINIGEN_PART", raising=False)
    taken = set()
    for commit in range(8):
        monkeypatch.setattr(parts, "_commit", lambda commit=commit: commit)
        taken.add(parts.share(8))
    assert taken == {(0, 2), (2, 2), (4, 2), (6, 2)}


def test_another_part_is_refused(monkeypatch):
    monkeypatch.setenv("MINIGEN_PART", "4")
    with pytest.raises(ValueError, match="MINIGEN_PART=4: wanted 0 to 3, or all"):
        parts.share(8)
