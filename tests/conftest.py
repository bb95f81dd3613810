"""What every test shares: the options, the backends, and how long hypothesis searches.

pytest tests                          the quick tests, on NumPy and on Numba
pytest tests --slow                   the slow ones too, and longer searches
pytest tests --backend numba          one backend (repeat the option for several)
pytest tests/parity --golden DIR      the golden cases of another folder
pytest tests -m gpu                   what needs a GPU; the golden cases too, on it
"""

import importlib.util
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_addoption(parser):
    group = parser.getgroup("minigen")
    group.addoption(
        "--golden",
        metavar="DIR",
        type=Path,
        default=HERE / "golden",
        help="folder of golden cases, FAMILY/CASE/case.json (default: tests/golden)",
    )
    group.addoption(
        "--backend",
        metavar="NAME",
        action="append",
        help="backend to run on, repeatable (default: numpy, and numba if installed)",
    )
    group.addoption("--slow", action="store_true", help="also run the slow tests")


def pytest_configure(config):
    config.addinivalue_line("markers", "slow: takes long; runs with --slow only")
    config.addinivalue_line("markers", "gpu: asks a GPU; runs with -m gpu only")
    if importlib.util.find_spec("hypothesis"):
        from hypothesis import settings

        settings.register_profile("quick", max_examples=20, deadline=None)
        settings.register_profile("slow", max_examples=300, deadline=None)
        settings.load_profile("slow" if config.getoption("--slow") else "quick")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    if not config.getoption("--slow"):
        deselect(config, items, "slow")
    # without a GPU these would fail, and with one each asks for minutes of it
    if not gpu_is_asked(config):
        deselect(config, items, "gpu")


def deselect(config, items, marker):
    """Take the tests with that marker out of `items`, as -m would."""
    chosen = [item for item in items if item.get_closest_marker(marker)]
    if chosen:
        config.hook.pytest_deselected(items=chosen)
        items[:] = [item for item in items if not item.get_closest_marker(marker)]


def gpu_is_asked(config) -> bool:
    """Say whether the tests are run with -m gpu."""
    return "gpu" in config.getoption("markexpr", "")


def backend_names(config) -> list[str]:
    """Return the backends under test, in the order the options name them."""
    chosen = config.getoption("--backend")
    if chosen:
        return list(dict.fromkeys(chosen))
    return ["numpy", *(["numba"] if importlib.util.find_spec("numba") else [])]


def pytest_report_header(config):
    missing = "" if importlib.util.find_spec("numba") else " (numba is not installed)"
    return (
        f"minigen: backends {', '.join(backend_names(config))}{missing}, "
        f"golden cases in {config.getoption('--golden')}"
    )


def pytest_generate_tests(metafunc):
    if "backend" in metafunc.fixturenames:
        names = backend_names(metafunc.config)
        metafunc.parametrize("backend", names, ids=names, scope="session")


@pytest.fixture(scope="session")
def golden(request) -> Path:
    """The folder that holds the golden cases."""
    return request.config.getoption("--golden")


@pytest.fixture(scope="session")
def ops(backend):
    """The table of operations of the backend under test, on NumPy arrays."""
    from minigen import backends

    table = backends.pick(backend)[1]
    return table if table.device is None else backends.hosted(table)
