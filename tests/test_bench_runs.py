"""What many images cost on many machines, on paper."""

import json
import math

import pytest
from typer.testing import CliRunner

from minigen.bench import runs
from minigen.cli import app


@pytest.mark.parametrize("machines", [1, 2, 7, 64, 10**6])
@pytest.mark.parametrize("batch", [1, 3, 64])
def test_the_machine_with_most_batches_is_the_last(machines, batch):
    found = runs.plan(2.0, batch, 1000, machines)
    whole = runs.plan(2.0, batch, 1000, 1)
    assert found.seconds == 2.0 * found.batches
    assert found.batches * machines >= whole.batches == math.ceil(1000 / batch)
    assert (found.batches - 1) * machines < whole.batches


def test_a_plan_of_seconds_that_are_known_draws_nothing():
    line = "bench runs arpg-xxl --batch 4 --seconds 11.1 --machines 1,64"
    result = CliRunner().invoke(app, line.split())
    assert result.exit_code == 0, result.output
    assert "50,000 images, 11.1 s an image in batches of 4" in result.stdout
    assert result.stdout.splitlines()[-1] == "| 64 | 196 | 2 h 26 min | 154 |"
    found = json.loads(CliRunner().invoke(app, [*line.split(), "--json"]).stdout)
    assert found["plans"][1]["batches"] == 196 and found["measured"] is None
