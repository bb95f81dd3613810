"""A file of full size converts in little memory."""

import subprocess
import sys
import zipfile

import numpy as np
import pytest

from minigen.checkpoints import load_model, names
from minigen.families import PRESETS
from tests.checkpoints.writing import pickle_of, write_record
from tests.synth import synth

ARPG, VQ = PRESETS["arpg-mnist"], PRESETS["vq-mnist"]


def state_of(config, salt=""):
    return {name: synth(name, s, salt) for name, s in names.manifest(config).items()}


MEASURED = """
import sys
from pathlib import Path
from minigen.checkpoints import convert
report = convert(sys.argv[1], sys.argv[2], sys.argv[3] or None)
# the most that was ever resident, mapped pages included
status = Path("/proc/self/status").read_text()
peak = status.partition("VmHWM:")[2].split()[0]
print(report.name, report.parameters, peak)
"""


def write_full_size(path, config):
    """Write a zip file of torch's with one stand-in weight in memory at a time."""
    shapes = names.manifest(config)
    # memory that is never written takes none
    tensors = {name: np.empty(shape, np.float32) for name, shape in shapes.items()}
    pickle = b"\x80\x02" + pickle_of({"model": tensors}, {}) + b"."
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as file:
        write_record(file, "arpg_300m/data.pkl", pickle)
        for i, (name, shape) in enumerate(shapes.items()):
            weight = synth(name, shape).reshape(-1).view(np.uint8)
            write_record(file, f"arpg_300m/data/{i}", weight)


@pytest.mark.slow
def test_arpg_l_converts_in_little_memory(tmp_path):
    source = tmp_path / "arpg_300m.pt"
    write_full_size(source, PRESETS["arpg-l"])
    size = source.stat().st_size
    assert size > 4 * 319_845_376
    for dtype in ("", "bfloat16"):
        ours = tmp_path / "arpg-l.safetensors"
        arguments = [sys.executable, "-c", MEASURED, source, ours, dtype]
        printed = subprocess.run(
            arguments, check=True, capture_output=True, text=True
        ).stdout
        name, parameters, peak = printed.split()
        print(f"{dtype or 'float32'}: {int(peak) / 1024:.0f} MB, file {size / 1e6:.0f}")
        assert (name, int(parameters)) == ("arpg-l", 319_845_376)
        assert int(peak) * 1024 <= 1.3 * size
        model = load_model(ours)
        for found, upstream in (
            (model.weights["embeddings"], "embeddings.weight"),
            (model.weights["cross"][11]["down"], "layers.cross_dec.11.ffn.w2.weight"),
        ):
            expected = synth(upstream, found.shape).astype(found.dtype)
            assert np.array_equal(found, expected)
