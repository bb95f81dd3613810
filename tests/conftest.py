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

from tests import compiling, missing, parser, parts

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
    config.addinivalue_line("markers", "twin: compares with PyTorch where there is one")
    config.addinivalue_line("markers", "needs(part): a part of tests/missing.py")
    config.addinivalue_line("markers", "beyond: needs more than the extra test brings")
    config.addinivalue_line("markers", "in_parts: a run takes a quarter of them")
    config.addinivalue_line("markers", "on(name): a processor of tests/processors.py")
    config.pluginmanager.register(missing, "minigen_missing")
    parser.keep()
    if importlib.util.find_spec("hypothesis"):
        from hypothesis import HealthCheck, settings

        # how long an example takes is no reason to fail: the machine may be busy
        patient = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
        settings.register_profile("quick", max_examples=10, **patient)
        settings.register_profile("slow", max_examples=100, **patient)
        settings.load_profile("slow" if config.getoption("--slow") else "quick")


def pytest_collection_modifyitems(items):
    """Let tests of checkpoints come last: what they install slows others down."""
    items.sort(key=lambda item: item.path.parent == HERE / "checkpoints")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """Let a process without tests take some of another: a few take minutes."""
    from xdist.scheduler import WorkStealingScheduling

    if config.getoption("dist") == "load":
        return WorkStealingScheduling(config, log)
    return None


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
        f"golden cases in {config.getoption('--golden')}, "
        f"of what takes long part {parts.part()}"
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
    from tests.hosting import hosted

    table = backends.pick(backend)[1]
    return table if table.device is None else hosted(table)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    """The folder of the pages of all lessons, built unless MINIGEN_SITE names one."""
    from lessons import build
    from tests import sites

    folder = sites.built() or tmp_path_factory.mktemp("site")
    if not sites.built():
        build.build(folder, [], jobs=2)
    return folder


@pytest.fixture(scope="session", autouse=True)
def compiled_once(request, tmp_path_factory):
    """Compile each kernel in one of the processes that run the tests."""
    if not hasattr(request.config, "workerinput"):
        yield
        return
    # pytest's own folder of this run; each process has one of its own in it
    folder = tmp_path_factory.getbasetemp().parent / "compiling"
    folder.mkdir(exist_ok=True)
    with compiling.once(folder):
        yield
