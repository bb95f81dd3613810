"""Every golden case, replayed on every backend."""

from tests.parity import case, replay


def test_case(replayed, record_property):
    family, folder, backend = replayed
    played = replay.replay(family, folder, backend)
    record_property("parity", summary(played, f"{family}/{folder.name}", backend))
    case.finish(played)


def summary(played, name, backend):
    """Return what the terminal summary shows of a case, as plain data."""
    return {
        "case": name,
        "backend": backend,
        "results": played.results,
        "decisions": played.decisions,
    }
