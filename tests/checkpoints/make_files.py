"""Write the small files of torch that the tests read: `python -m ...make_files`.

Needs torch; the files stand in the repository, so the tests do not.
"""

from pathlib import Path

import numpy as np
import torch

FILES = Path(__file__).parent / "files"


def from_array(array):
    """A tensor that owns its memory, so that it is saved with a storage of its own."""
    return torch.from_numpy(np.ascontiguousarray(array)).clone()


def content():
    """Every kind of tensor and of thing beside tensors that a training file holds."""
    table = torch.arange(24.0).reshape(4, 6)
    attributed = torch.nn.Parameter(torch.tensor([1.0, -0.0]))
    attributed.no_decay = True
    marked = torch.tensor([2, 3], dtype=torch.int16)
    marked.note = "text"
    state = torch.nn.Linear(2, 1).state_dict()
    state["weight"], state["bias"] = torch.tensor([[0.5, 2.0]]), torch.tensor([-1.0])
    state.update({
        "table": table, "transposed": table.T, "row": table[1], "tail": table[3, 2:],
        "expanded": torch.tensor([7.0]).expand(2, 3), "scalar": torch.tensor(3.5),
        "empty": torch.zeros(0, 3), "attributed": attributed, "marked": marked,
        "parameter": torch.nn.Parameter(torch.ones(3), requires_grad=False),
        **{
            name: torch.tensor([0, 1, 2, 100]).to(getattr(torch, name))
            for name in (
                "float64", "float16", "bfloat16", "int8", "int32", "int64", "uint8",
                "uint16", "uint32", "uint64", "complex64", "bool", "float8_e5m2",
            )
        },
    })  # fmt: skip
    beside = {
        "size": torch.Size([2, 3]), "dtype": torch.bfloat16,
        "device": torch.device("cpu"), "pair": (1, 2.5, None), "numbers": [1, -5, 300],
        "large": 2**40, "flag": True, "bytes": "text",
    }  # fmt: skip
    return {"state_dict": state, "beside": beside}


def refused():
    """Tensors whose values are not simply there."""
    complex_values = torch.tensor([1 + 2j])
    return {
        "conjugate": complex_values.conj(),
        "sparse": torch.eye(2).to_sparse(),
        "meta": torch.empty(2, device="meta"),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "module": torch.nn.Linear(1, 1),
    }


def main():
    FILES.mkdir(exist_ok=True)
    for protocol in (2, 3, 4, 5):
        for zipped, kind in ((True, "zip"), (False, "legacy")):
            torch.save(
                content(),
                FILES / f"protocol{protocol}_{kind}.pt",
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=zipped,
            )
    for name, value in refused().items():
        torch.save({"state_dict": {"weight": value}}, FILES / f"refused_{name}.pt")
    script = torch.jit.trace(torch.nn.Linear(1, 1), torch.ones(1, 1))
    torch.jit.save(script, FILES / "refused_script.pt")


if __name__ == "__main__":
    main()
