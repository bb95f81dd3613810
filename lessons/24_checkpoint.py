# %% [markdown]
# # 24 · Reading someone else's checkpoint, safely
#
# A PyTorch weight file holds arrays of numbers, and a small program that says how to
# put them together. Whoever loads the file with `pickle` runs that program, and it may
# do anything that you may do. This lesson writes such a file, reads it without running
# it, and asks what its shapes cannot tell.
#
# ![The instructions of a harmless and of a hostile pickle, by what they
# do](pictures/24_checkpoint.png)
#
# *Runs on NumPy alone.*

# %%
import os
import pickle
import pickletools
import tempfile
import zipfile
from dataclasses import replace
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # the arrays are small

import numpy as np

import minigen
from minigen.checkpoints import load_model, names, pickle_machine
from minigen.show import lesson as show

# %% [markdown]
# ## A pickle is a program
#
# Its instructions work on a stack. Most put data there, or build a list or a dict of
# it. But one imports a function by its name, and one calls what was imported. An object
# may name both itself, with `__reduce__`. The one below makes a folder; it could as
# well send your files away.

# %%
folder = Path((kept := tempfile.TemporaryDirectory(ignore_cleanup_errors=True)).name)


class MakesFolder:
    def __reduce__(self):
        return os.mkdir, (str(folder / "trace"),)


programs = [pickle.dumps(v, 2) for v in ({"weight": [0.5, 0.25]}, MakesFolder())]
kinds, strips = {"GLOBAL": 2, "REDUCE": 3}, []
for program in programs:
    row = [kinds.get(c.name, int(a is None)) for c, a, _ in pickletools.genops(program)]
    strips.append([show.numbered(np.array([row]), 24, 0, 3)])
legend = "0 data,  1 builds,  2 imports a name,  3 calls it"
show.save("24_checkpoint.png", show.board(strips, [legend], ["weights", "hostile"]))

# %% [markdown]
# Python's own reader does what the program says:

# %%
for code, argument, _ in pickletools.genops(programs[1]):
    shown = "" if argument is None else str(argument).replace(str(folder), "FOLDER")
    print("   ", code.name, shown)
pickle.loads(programs[1])
ran = (folder / "trace").exists()
print("pickle.loads made the folder:", ran)
(folder / "trace").rmdir()

# %% [markdown]
# ## A weight file, written by hand
#
# `torch.save` writes a zip file: the numbers of each tensor as they are, and a pickle
# with its name and shape. For each tensor the pickle *calls* a function of PyTorch. So
# a reader that refused all calls would read no weights. Below are these instructions,
# and with them a file of the model `gpt-mnist`, under the names of the original code.


# %%
def text(words):
    return b"X" + len(words).to_bytes(4, "little") + words.encode()


def several(*parts):
    return b"(" + b"".join(parts) + b"t"


def numbers(*values):
    return several(*(b"J" + value.to_bytes(4, "little") for value in values))


# %%
def tensor(key, shape, count, strides=None):
    """Return instructions that build a tensor from a storage of `count` bfloat16."""
    if strides is None:
        strides = [int(np.prod(shape[i + 1 :])) for i in range(len(shape))]
    kind, size = b"ctorch\nBFloat16Storage\n", b"J" + count.to_bytes(4, "little")
    storage = several(text("storage"), kind, text(key), text("cpu"), size) + b"Q"
    parts = storage, b"K\0", numbers(*shape), numbers(*strides), b"\x89", b"}"
    return b"ctorch._utils\n_rebuild_tensor_v2\n" + several(*parts) + b"R"


# %%
def write(path, items, arrays):
    """Write a file as torch.save does: a dict of pickled items, and arrays."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("model/data.pkl", b"\x80\x02}(" + b"".join(items) + b"u.")
        for key, array in enumerate(arrays):
            file.writestr(f"model/data/{key}", array.tobytes())


# %%
pipe = minigen.load("gpt-mnist", backend="numpy")
ours = pipe.generator
arrays = names.to_upstream(ours.config, ours.weights)
parts = enumerate(arrays.items())
items = [text(n) + tensor(str(i), a.shape, a.size) for i, (n, a) in parts]
write(folder / "model.pt", items, arrays.values())
report = minigen.convert(folder / "model.pt", folder / "model.safetensors")
print(f"{report.tensors} tensors, {report.parameters} numbers, {report.family}")
print("hash of the converted file:", report.hash[:16], "and ours:", ours.hash[:16])

# %% [markdown]
# ## Read, but not run
#
# minigen has a pickle reader of its own. It knows the instructions that weight files
# need. Importing, in `name_global`, returns the name and nothing else; calling it calls
# the function of ours that a table has under that name, which describes a tensor. A
# name that the table lacks becomes a placeholder.

# %%
show.source(pickle_machine.name_global)

# %% [markdown]
# **Predict.** The same weights are written again, and one more entry comes after them:
# the hostile object. What does `read_checkpoint` return: the weights without that
# entry, or nothing? Does the folder exist afterwards?


# %%
def refusal(items):
    """Return why a file with these items is not read, or None if it is."""
    write(folder / "other.pt", items, arrays.values())
    try:
        minigen.read_checkpoint(folder / "other.pt")
    except minigen.errors.CheckpointError as error:
        return str(error).removeprefix(f"{folder / 'other.pt'}: ")


# without the instructions that begin and end a pickle
hostile = text("note") + programs[1][2:-1]
refused = refusal([*items, hostile])
made = (folder / "trace").exists()
harmless = refusal([*items, text("note") + b"cargparse\nNamespace\n)R"])
print(refused, f"\nthe folder was made: {made}; a harmless object: {harmless}")

# %% [markdown]
# **Reveal.** Nothing: a file that asks for a name which only an attack needs is refused
# as a whole, and nothing was run. Leaving out the entry would be possible, as it is for
# an object of the training program (the control), but you would not learn that somebody
# has tampered with the file.

# %% [markdown]
# ## Shapes may lie
#
# A shape is a claim of the file. It decides how much memory is taken, so it is compared
# with the bytes that are there. With a stride of 0 a tensor repeats one number, and
# four numbers can claim to be a billion.

# %%
honest = tensor("0", (2, 2), 4)
arrays = {"weight": np.zeros(4, np.uint16)}  # four numbers of two bytes
lies = {"too large": tensor("0", (1000, 1000), 4)}
lies["repeated"] = tensor("0", (1000, 1000, 1000), 4, strides=(0, 0, 0))
found = {name: refusal([text("weight") + lie]) for name, lie in lies.items()}
print(*(f"{name}: {said}" for name, said in found.items()), sep="\n")
print("honest:", refusal([text("weight") + honest]))

# %% [markdown]
# ## What shapes cannot tell
#
# Names and shapes show the family, the width and the layers; every name must be
# expected and none missing. But 128 numbers may be 4 heads of 32 or 8 heads of 16, in
# the same arrays. With the wrong number the file loads without an error, and draws
# something else.

# %%
wrong = replace(ours.config, heads=8, key_heads=8)
models = [load_model(folder / "model.pt", config=c) for c in (ours.config, wrong)]
assemble, tokenizer = minigen.pipeline.assemble, pipe.tokenizer
pictures = [assemble(m, tokenizer, "numpy", 2).sample([3, 7], 0) for m in models]
tiles = [[show.enlarge(picture, 3) for picture in pair] for pair in pictures]
show.save("24_heads.png", show.board(tiles, ["3", "7"], ["4 heads", "8 heads"]))

# %% [markdown]
# So `minigen info` names what it assumed, and `config=` states it. And no reader can
# tell whether weights are good: a stranger's model draws what the stranger trained.
# SECURITY.md lists what else a file must never be able to do.
#
# ## What was taught

# %%
assert ran, "pickle.loads runs what the file says"
assert not made and "mkdir" in refused, "read_checkpoint refuses it, and runs nothing"
assert harmless is None, "a harmless object becomes a placeholder"
assert refusal([text("weight") + honest]) is None, "an honest file is read"
assert all(found.values()), "shapes that the bytes do not support are refused"
assert report.hash == ours.hash, "converted from PyTorch's format: the same model"
assert (pictures[0] == pipe.sample([3, 7], 0)).all(), "with 4 heads: the same pictures"
assert (pictures[1] != pictures[0]).any(), "with 8 heads: other pictures, and no error"

# %% [markdown]
# ## Exercises
#
# `lessons/exercises/24_checkpoint.py`; `python lessons/check.py 24` checks them.
#
# 1. `names_in`: which names does a pickle import? Find out without running it.
# 2. `strides_of`: the strides of a tensor whose numbers lie in the order of its shape.
# 3. `fits`: do all elements of a tensor lie inside its storage?
