"""The replay itself: it must notice any array that is wrong, missing or of no use."""

import json
import shutil

import numpy as np
import pytest

from tests.conftest import HERE
from tests.parity import case, replay

SMALL = (
    "arpg/generate_icdf",
    "arpg/train_forward_classdrop",
    "llamagen/generate_icdf",
    "llamagen/train_forward_gqa",
    "vq/pixels",
    "mamba_ops/causal_conv1d",
    "mamba_ops/ssd_stress",
    "mamba_ops/mamba2_module",
    "kl/tiny_novar",
    "mar_diffloss/denoiser_tiny",
    "mar_diffloss/schedule",
)


def alter(folder, change):
    """Rewrite io.npz and case.json of a case by a function of both."""
    about = json.loads((folder / "case.json").read_text())
    with np.load(folder / "io.npz") as file:
        arrays = dict(file)
    change(about, arrays)
    (folder / "case.json").write_text(json.dumps(about))
    np.savez(folder / "io.npz", **arrays)


def fails(folder):
    """Return why the replay of a case on NumPy fails, or nothing if it passes."""
    try:
        played = case.read(folder)
        replay.replay(played, "numpy")
        case.finish(played)
    except Exception as error:
        return str(error) or repr(error)
    return ""


@pytest.fixture
def copied(request, tmp_path):
    """A copy, under another name, of a case of the folder that ships."""
    source = HERE / "golden" / request.param
    folder = tmp_path / source.parent.name / "another_name"
    shutil.copytree(source, folder)
    return folder


@pytest.mark.parametrize("copied", SMALL, indirect=True)
def test_every_array_matters(copied):
    assert not fails(copied)
    with np.load(copied / "io.npz") as file:
        names = list(file)
    for name in names:

        def spoil(about, arrays, name=name):
            spoilt = arrays[name].copy()
            # one entry, moved by far more than any tolerance
            last, whole = spoilt.reshape(-1)[-1:], spoilt.dtype.kind in "iu"
            last[:] = last ^ 1 if whole else 1 - last
            arrays[name] = spoilt

        before = (copied / "io.npz").read_bytes()
        alter(copied, spoil)
        assert fails(copied), f"{name} was changed and nothing noticed"
        (copied / "io.npz").write_bytes(before)


@pytest.mark.parametrize("copied", ["arpg/generate_icdf"], indirect=True)
def test_other_prefixes(copied):
    def rename(about, arrays):
        for name in [n for n in arrays if n.startswith("t01_")]:
            arrays["second:" + name.removeprefix("t01_")] = arrays.pop(name)
        text = json.dumps(about).replace('"t01_', '"second:')
        about.update(json.loads(text))

    alter(copied, rename)
    assert not fails(copied)


@pytest.mark.parametrize("copied", ["arpg/generate_icdf"], indirect=True)
def test_an_array_of_no_use_fails(copied):
    def add(about, arrays):
        arrays["extra"] = np.zeros(3, np.float32)
        about["arrays"].append({"name": "extra", "meaning": "nothing knows"})

    alter(copied, add)
    assert "neither used nor compared: extra" in fails(copied)


@pytest.mark.parametrize("copied", ["arpg/train_forward_classdrop"], indirect=True)
def test_an_unknown_kind_fails(copied):
    def drop(about, arrays):
        del arrays["logits"]
        about["arrays"] = [a for a in about["arrays"] if a["name"] != "logits"]

    alter(copied, drop)
    assert "a case of a kind that no replayer" in fails(copied)
