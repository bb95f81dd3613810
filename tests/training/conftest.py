"""The twins need torch: where it is missing, their tests are left out."""

import importlib.util

TORCH = importlib.util.find_spec("torch") is not None
collect_ignore_glob = [] if TORCH else ["test_*.py"]


def pytest_report_header(config):
    return "training: tested" if TORCH else "training: left out, torch is not installed"
