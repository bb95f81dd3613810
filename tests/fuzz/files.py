"""Weight files, indexes, configurations and recipes, guided by what their readers do.

    python -m tests.fuzz files --seconds 60 --corpus FOLDER

atheris (`pip install atheris`) changes inputs and keeps those that reach a branch that
none has reached. Only MinigenError may come out, within SECONDS and MEMORY; what else
is found is written to FOLDER/found. `python -m tests.fuzz costs FOLDER` measures all
inputs that were kept.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path

SECONDS, MEMORY = 2, 100 * 2**20
"""What an input may take: seconds of a processor, bytes beyond an idle process."""

LARGEST = 100_000
"""Bytes of an input, of which that is asked."""

WORDS = (
    "PK\\x01\\x02", "PK\\x03\\x04", "PK\\x05\\x06", "PK\\x06\\x06", "PK\\x06\\x07",
    "a/data.pkl", "data/0", "\\x80\\x02", "\\x8a\\x0al\\xfc\\x9cF\\xf9 j\\xa8P\\x19.",
    "ctorch._utils\\x0a_rebuild_tensor_v2\\x0a",
    "ctorch._utils\\x0a_rebuild_parameter\\x0a",
    "ctorch._utils\\x0a_rebuild_tensor_v3\\x0a", "ctorch\\x0aFloatStorage\\x0a",
    "ccollections\\x0aOrderedDict\\x0a", "ctorch\\x0abfloat16\\x0a", "storage", "cpu",
    "ctorch._tensor\\x0a_rebuild_from_type_v2\\x0a", "c__builtin__\\x0aset\\x0a",
    "ccollections\\x0adefaultdict\\x0a", "cargparse\\x0aNamespace\\x0a", "model", "ema",
    "args", "state_dict", "module.", "__metadata__", "dtype", "shape", "data_offsets",
    "F32", "BF16", "F8_E8M0", "minigen.config", "weight_map", "0.bin", "null", "true",
    "NaN", "1e999", "9999999999", "family", "arpg", "mar", "vq", "layers", "labels",
    "order", "schedule", "grid", "[[", "{}", "\\\\ud800", "..", "/",
)  # fmt: skip
"""What libFuzzer puts in, as its dictionaries have it."""


def main(arguments) -> int:
    """Change inputs of each part for a while; print what came out, return a status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz files")
    parser.add_argument("--part", help="one of the parts; all of them, if not said")
    parser.add_argument("--seconds", type=int, default=60, help="for each part")
    parser.add_argument("--corpus", type=Path, default=Path("fuzzed"))
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    try:
        import atheris
    except ImportError:
        sys.exit("it needs atheris: pip install atheris")
    if given.here:
        return _guided(atheris, given.part, given.seconds, given.corpus)
    from tests.fuzz.inputs import PARTS

    status = 0
    for part in [given.part] if given.part else PARTS:
        # libFuzzer ends the process when it is done
        how = ["--part", part, "--seconds", str(given.seconds)]
        command = [sys.executable, "-m", "tests.fuzz", "files", "--here", *how]
        command += ["--corpus", str(given.corpus)]
        status |= subprocess.run(command).returncode != 0
    found = sorted((given.corpus / "found").glob("*"))
    print(f"{len(found)} findings in {given.corpus / 'found'}")
    return int(status or bool(found))


def _guided(atheris, part, seconds, corpus):
    # what is imported from here on is watched
    with atheris.instrument_imports(include=["minigen"]):
        from minigen.errors import MinigenError
        from tests.fuzz import inputs
        from tests.fuzz.recipes import edited
    # a warning of Python's on a terminal is a fault, too
    warnings.simplefilter("error")
    kept, found = corpus / part, corpus / "found"
    for folder in (kept, found):
        folder.mkdir(parents=True, exist_ok=True)
    for content in inputs.seeds(part):
        if len(content) <= LARGEST:
            (kept / hashlib.sha1(content).hexdigest()).write_bytes(content)
    words = corpus / "words"
    words.write_text("".join(f'"{word}"\n' for word in WORDS))
    shelf = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
    folder = tempfile.TemporaryDirectory(dir=shelf)
    read, seen, largest = inputs.PARTS[part], set(), [_resident()]

    def note(kind, content, about):
        # one input of a kind
        if kind not in seen:
            seen.add(kind)
            name = hashlib.sha1(content).hexdigest()[:12]
            (found / f"{part}-{name}").write_bytes(content)
            (found / f"{part}-{name}.txt").write_text(about)
            print(f"FOUND {part} {name}: {about.strip().splitlines()[-1][:200]}")

    def one(content):
        started = time.process_time()
        try:
            read(content, Path(folder.name))
        except MinigenError as error:
            if not str(error).isprintable():
                note("words", content, repr(str(error)))
        except Exception as error:  # noqa: BLE001
            frame = traceback.extract_tb(error.__traceback__)[-1]
            about = "".join(traceback.format_exception(error))
            note((type(error), frame.filename, frame.lineno), content, about)
        taken = time.process_time() - started
        if taken > SECONDS:
            note(("slow", int(taken)), content, f"{taken:.1f} s")
        if (now := _resident()) > largest[0] + MEMORY:
            note(("large", now), content, f"{now - largest[0]} bytes")
            largest[0] = now

    def edit(content, most, seed):
        # where it is JSON, mostly a value of it is put in the place of another
        chance = random.Random(seed)
        try:
            values = json.loads(content)
            inner = chance.choice([values, *values.values()])
            inner = inner if isinstance(inner, dict) else values
            text = edited(chance, inner)
            if inner is not values:
                text = json.dumps(values | {"w": json.loads(text)})
        except (ValueError, AttributeError, RecursionError):
            return atheris.Mutate(content, most)
        if chance.random() < 0.2:
            return atheris.Mutate(content, most)
        return text.encode(errors="surrogatepass")[:most]

    one(inputs.seeds(part)[0])
    largest[0] = _resident()
    flags = [
        f"-max_total_time={seconds}", f"-max_len={LARGEST}", f"-dict={words}",
        "-timeout=60", "-rss_limit_mb=4000", "-close_fd_mask=0", "-len_control=20",
        f"-artifact_prefix={found}/{part}-", "-print_final_stats=1", "-verbosity=0",
    ]  # fmt: skip
    is_text = part in ("header", "config", "index", "recipe")
    how = {"custom_mutator": edit} if is_text else {}
    atheris.Setup([sys.argv[0], *flags, str(kept)], one, **how)
    atheris.Fuzz()
    return 0


def _resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
