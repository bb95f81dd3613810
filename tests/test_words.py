"""What reaches a terminal: names of strangers are shown, and none is obeyed."""

import io
import json
import os
import pickle
import subprocess
import sys
import unicodedata
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import minigen
from minigen import cli, errors
from minigen.commands import terminal
from minigen.show import files
from minigen.words import LONGEST, markdown, printable, say, say_json, table

PACKAGE = Path(minigen.__file__).parent

EVIL = "\x1b[31m\x1b]0;owned\x07\nhash ok\r\u2028\x85\x9b2J\u202e\u2066\u200b\ud800é"
"""A name that moves the cursor, fakes lines, turns text around and has no encoding."""

TAME = (
    r"\x1b[31m\x1b]0;owned\x07\nhash ok\r\u2028\x85\x9b2J\u202e\u2066\u200b\ud800" + "é"
)


def is_tame(text):
    """Say whether a terminal would show every character, and each line is one."""
    return all(c.isprintable() for c in text.replace("\n", ""))


def test_every_character_shows_itself_or_its_escape():
    assert printable(EVIL) == TAME
    for code in range(sys.maxunicode + 1):
        shown = printable(chr(code))
        assert shown.isprintable()
        if unicodedata.category(chr(code))[0] not in "CZ":
            assert shown == chr(code)
    # what was made printable stays as it is
    assert printable(TAME) == TAME


def test_a_name_without_end_loses_its_middle():
    shown = printable("a" * 10**6 + "remedy")
    assert len(shown) < LONGEST + 100 and shown.endswith("remedy")
    assert f" {10**6 + 6 - LONGEST} characters " in shown


@pytest.mark.parametrize("kind", [e for e in vars(errors).values()
                                  if isinstance(e, type) and e is not errors.KernelError
                                  and issubclass(e, errors.MinigenError)])  # fmt: skip
def test_a_message_is_one_printable_line(kind):
    error = kind(f"there is no {EVIL}; give another")
    assert str(error) == f"there is no {TAME}; give another"
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_a_kernels_message_keeps_its_lines():
    error = errors.KernelError("race", "one\x1b[2J\n  at two")
    assert str(error) == "race: one\\x1b[2J\n  at two" and error.kind == "race"
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.kind) == (str(error), "race")


@pytest.mark.parametrize(
    "encoding", ["ascii", "cp1252", "utf-8", "utf-16", "shift_jis"]
)
def test_no_encoding_of_a_stream_ends_the_program(encoding):
    buffer = io.BytesIO()
    stream = io.TextIOWrapper(buffer, encoding, newline="")
    say(EVIL, "π", stream=stream)
    first, second, rest = buffer.getvalue().decode(encoding).split("\n")
    assert is_tame(first) and first.startswith(TAME[:-1]) and rest == ""
    assert second in ("π", r"\u03c0")


def test_a_program_without_a_console_says_nothing(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    say("x")
    terminal.complain("x")


def test_json_is_valid_and_true(capsys):
    values = {EVIL: [EVIL, Path("a"), (1.5, np.inf, float("nan"))], "n": -np.inf}
    say_json(values)
    said = capsys.readouterr().out
    assert said.isascii() and is_tame(said)
    found = json.loads(said, parse_constant=lambda name: pytest.fail(name))
    assert found == {EVIL: [EVIL, "a", [1.5, None, None]], "n": None}


def test_cells_and_progress_are_printable(monkeypatch):
    text = table([("name", "size"), (EVIL, 1), ("[red]x", 2)], right=[1])
    assert text.split("\n")[1] == f"{TAME}     1" and is_tame(text)
    assert is_tame(markdown([("a",), (EVIL,)]))
    screen = io.StringIO()
    screen.isatty = lambda: True
    monkeypatch.setattr(sys, "stderr", screen)
    terminal.tell("reading \x1b[2J\n")
    assert screen.getvalue() == "\r\x1b[Kreading \\x1b[2J\\n"
    with terminal.progress(1, "[red]:smile: drawing", "numpy") as advance:
        advance()
    assert "[red]:smile: drawing" in screen.getvalue()


def command_line(monkeypatch, capfd, *arguments):
    """Run `minigen` here; return the exit status, stdout and stderr."""
    monkeypatch.setattr(sys, "argv", ["minigen", *map(str, arguments)])
    with warnings.catch_warnings(), pytest.raises(SystemExit) as end:
        cli.main()
    out, err = capfd.readouterr()
    assert is_tame(out) and is_tame(err), (out, err)
    return end.value.code, out, err


def safetensors(path, names, metadata=None):
    """Write a weight file with an array of one number under each name."""
    entries = {
        name: {"dtype": "F32", "shape": [1], "data_offsets": [4 * i, 4 * i + 4]}
        for i, name in enumerate(names)
    }
    header = json.dumps({**({"__metadata__": metadata} if metadata else {}), **entries})
    size = len(header).to_bytes(8, "little")
    path.write_bytes(size + header.encode() + bytes(4 * len(names)))
    return path


READING = [("info",), ("convert", "OUT"), ("sample", "-c", "1")]


@pytest.mark.parametrize("command", READING, ids=lambda command: command[0])
def test_names_in_a_weight_file_are_shown_not_obeyed(
    command, monkeypatch, capfd, tmp_path
):
    names = [EVIL, f"{EVIL}.weight", "model.\x1b[2Jx"]
    path = safetensors(tmp_path / "a.safetensors", names, {EVIL: EVIL, "format": EVIL})
    name, *options = command
    options = [tmp_path / "out.safetensors" if o == "OUT" else o for o in options]
    status, out, err = command_line(monkeypatch, capfd, name, path, *options)
    assert r"\x1b[" in out + err and status == (0 if name == "info" else 2)
    if name != "info":
        assert err.startswith("minigen: ") and err.count("\n") == 1
        return
    _, out, _ = command_line(monkeypatch, capfd, "info", path, "--json")
    assert set(json.loads(out)["names"]) == set(names)


@pytest.mark.parametrize("content", [
    {"model": EVIL, "labels": [1]},
    {"model": "arpg-mnist", "labels": [1], EVIL: 1},
    {"model": "arpg-mnist", "labels": [1], "order": EVIL, "schedule": EVIL},
    {"model": "arpg-mnist", "labels": [1], "tokenizer": EVIL},
    {"model": "arpg-mnist", "labels": [1], "guided_draw": EVIL},
], ids=["model", "field", "order", "tokenizer", "choice"])  # fmt: skip
def test_a_recipe_is_shown_not_obeyed(content, monkeypatch, capfd, tmp_path):
    path = tmp_path / "a.png"
    files.write_png(path, np.zeros((32, 32, 3), np.uint8), content)
    call = ("replay", path, "--backend", "numpy")
    status, out, err = command_line(monkeypatch, capfd, *call)
    assert (status, out) == (2, "") and err.count("\n") == 1
    assert r"\x1b[31m" in err


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names")
def test_names_of_files_are_shown_not_obeyed(monkeypatch, capfd, tmp_path):
    monkeypatch.chdir(tmp_path)
    name = "a\nhash ok\x1b[31m\udcff.png"
    sample = ("sample", "arpg-mnist", "-c", "1", "--steps", "1", "--backend", "numpy")
    status, out, _ = command_line(monkeypatch, capfd, *sample, "--out", name)
    assert status == 0 and out.count("\n") == 1
    assert out.startswith(r"a\nhash ok\x1b[31m\udcff.png  1 image")
    status, out, _ = command_line(
        monkeypatch, capfd, "replay", name, "--backend", "numpy"
    )
    assert status == 0 and out.count("\n") == 1
    status, out, _ = command_line(monkeypatch, capfd, *sample, "--out", name, "--json")
    assert json.loads(out)["files"] == [name]


WRONG = [
    [f"--{EVIL}"], [f"x{EVIL}"], ["info", "a", EVIL], ["info"], ["info", EVIL],
    ["sample", "arpg-mnist", "-c", "1", "--steps", EVIL], ["bench", f"x{EVIL}"],
]  # fmt: skip


@pytest.mark.parametrize("arguments", WRONG, ids=lambda a: f"{len(a)} {a[:1] or ''}")
def test_a_wrong_usage_is_shown_not_obeyed(arguments, monkeypatch, capfd):
    status, out, err = command_line(monkeypatch, capfd, *arguments)
    assert (status, out) == (2, "")
    assert "hash ok" not in err.split("\n") and "Traceback" not in err


def test_help_has_its_lines(monkeypatch, capfd):
    for arguments in ([], ["bench"], ["--help"]):
        status, out, err = command_line(monkeypatch, capfd, *arguments)
        # older typers take no command for a question, newer ones for a mistake
        assert status in (0, 2)
        assert "Commands:" in (out + err).split("\n")


def test_a_warning_and_a_fault_of_ours_are_shown_not_obeyed(monkeypatch, capfd):
    def models():
        warnings.warn(EVIL, stacklevel=2)
        raise RuntimeError(EVIL)

    monkeypatch.setattr("minigen.catalogue.known_models", models)
    status, out, err = command_line(monkeypatch, capfd, "models")
    assert (status, out) == (3, "")
    lines = err.split("\n")
    assert lines[0] == f"minigen: warning: {TAME}"
    assert "hash ok" not in lines and "please report" in lines[-2]


def test_too_little_memory_is_one_message(monkeypatch, capfd):
    def models():
        raise MemoryError("Unable to allocate 7.45 GiB")

    monkeypatch.setattr("minigen.catalogue.known_models", models)
    status, out, err = command_line(monkeypatch, capfd, "models")
    assert status == 2 and out == ""
    assert err == (
        "minigen: this takes more memory than there is (Unable to allocate 7.45 GiB)\n"
    )


def run(*arguments, **options):
    command = [sys.executable, "-m", "minigen", *arguments]
    here = {**os.environ, "PYTHONPATH": str(PACKAGE.parent), **options.pop("env", {})}
    return subprocess.Popen(command, env=here, stderr=subprocess.PIPE, **options)


def test_an_error_without_a_text_has_its_name(monkeypatch, capfd):
    def fail(**options):
        raise ConnectionError

    assert terminal.run(fail) == 2
    assert capfd.readouterr().err == "minigen: ConnectionError\n"


@pytest.mark.skipif(os.name == "nt", reason="pipes of Windows end in another way")
def test_a_reader_that_leaves_hears_nothing():
    read, write = os.pipe()
    os.close(read)
    process = run("models", stdout=write)
    os.close(write)
    assert process.communicate()[1] == b"" and process.returncode == terminal.UNHEARD


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a full device")
def test_a_full_disk_is_one_message():
    with open("/dev/full", "w") as full:
        process = run("models", stdout=full)
        said = process.communicate()[1]
    assert process.returncode == 2
    assert said.startswith(b"minigen: ") and said.count(b"\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="signals of Windows are others")
def test_a_stop_from_the_keyboard_is_no_traceback():
    code = (
        "import os, signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from minigen import cli\n"
        "from minigen import catalogue\n"
        "catalogue.known_models = lambda: os.kill(os.getpid(), signal.SIGINT)\n"
        "import sys; sys.argv[1:] = ['models']; cli.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True)
    assert done.returncode == 130 and b"Traceback" not in done.stderr


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_an_old_terminal_is_no_reason_to_end(encoding, tmp_path):
    path = safetensors(tmp_path / "π\u202e.safetensors", ["π"])
    process = run("info", path, stdout=subprocess.PIPE,
                  env={"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"})  # fmt: skip
    out, err = process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert rb"\u03c0\u202e.safetensors" in out


def test_colours_are_for_terminals_that_have_the_character(monkeypatch):
    for encoding, there in (("utf-8", True), ("ascii", False), ("cp1252", False)):
        screen = SimpleNamespace(encoding=encoding, isatty=lambda: True)
        monkeypatch.setattr(sys, "stdout", screen)
        assert terminal.has_colours() is there
