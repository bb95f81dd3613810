"""Every golden case, replayed on every backend."""

from tests.parity import case, replay


def test_case(replayed, record_property):
    folder, backend = replayed
    played = case.read(folder)
    try:
        replay.replay(played, backend)
    finally:
        record_property("parity", summary(played, backend))
    case.finish(played)


def summary(played, backend):
    """Return what the terminal summary shows of a case, as plain data."""
    return {
        "case": f"{played.about['family']}/{played.folder.name}",
        "backend": backend,
        "results": played.results,
        "decisions": played.decisions,
    }
