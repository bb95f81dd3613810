"""Files are written whole or not at all, wherever they go and whatever stands there."""

import ast
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

import pytest

import minigen
from minigen import writing
from minigen.errors import InputError

ROOT = Path(minigen.__file__).parent


@pytest.fixture(autouse=True)
def fresh():
    # what a process has swept once it does not sweep again
    writing._sweep.cache_clear()


def mode(path):
    return path.stat().st_mode & 0o777


def limit_files():
    import resource

    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))


def run(code, *arguments, **options):
    """Run Python code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True, text=True, env={**os.environ}, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_an_error_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.bin"
    writing.write_file(path, b"old")
    for error in (KeyboardInterrupt(), ValueError(), SystemExit(143)):
        with pytest.raises(type(error)), writing.replace_file(path) as file:
            file.write(b"half")
            raise error
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    code = """if True:
        import sys
        from minigen.errors import InputError
        from minigen.writing import write_file
        try:
            write_file(sys.argv[1], bytes(100_000))
        except InputError as error:
            print(error)"""
    said = run(code, tmp_path / "a.bin", preexec_fn=limit_files)
    assert "a.bin cannot be written: File too large" in said
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_is_not_blamed_on_this_one(tmp_path):
    with pytest.raises(FileNotFoundError), writing.replace_file(tmp_path / "a"):
        (tmp_path / "other").read_bytes()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("old", [0o600, 0o640, 0o755, 0o200, 0o666])
def test_a_file_keeps_its_mode(tmp_path, old):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(old)
    with writing.replace_file(path) as file:
        (part,) = set(tmp_path.iterdir()) - {path}
        assert mode(part) == old
        file.write(b"new")
    assert (path.read_bytes(), mode(path)) == (b"new", old)


def test_a_new_file_has_the_mode_that_umask_leaves(tmp_path):
    before = os.umask(0o027)
    try:
        writing.write_file(tmp_path / "a.bin", b"")
    finally:
        os.umask(before)
    assert mode(tmp_path / "a.bin") == 0o640


def test_a_file_keeps_its_owner(tmp_path):
    if os.geteuid():
        pytest.skip("only root writes files of others")
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    os.chown(path, 65534, 65533)
    writing.write_file(path, b"new")
    assert (path.stat().st_uid, path.stat().st_gid) == (65534, 65533)


def test_the_file_behind_a_link_is_replaced_and_the_link_stays(tmp_path):
    (tmp_path / "far").mkdir()
    real, link = tmp_path / "far" / "real.bin", tmp_path / "link.bin"
    real.write_bytes(b"old")
    link.symlink_to("second.bin")
    (tmp_path / "second.bin").symlink_to("far/real.bin")
    writing.write_file(link, b"new")
    assert link.is_symlink() and real.read_bytes() == b"new"
    real.unlink()
    writing.check_writable(link)
    writing.write_file(link, b"again")
    assert link.is_symlink() and real.read_bytes() == b"again"
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="cannot be written"):
        writing.write_file(tmp_path / "loop", b"")


@pytest.mark.parametrize("planted", ["file", "folder"])
def test_a_link_that_another_user_left_in_a_shared_folder_is_not_followed(
    tmp_path, planted
):
    if os.geteuid():
        pytest.skip("only root makes links of others")
    shared, secret = tmp_path / "shared", tmp_path / "secret"
    secret.mkdir()
    (secret / "a.bin").write_bytes(b"secret")
    shared.mkdir()
    shared.chmod(0o1777)
    link = shared / "link"
    link.symlink_to(secret if planted == "folder" else secret / "a.bin")
    os.chown(link, 65534, 65534, follow_symlinks=False)
    out = link / "a.bin" if planted == "folder" else link
    for ask in (writing.check_writable, lambda path: writing.write_file(path, b"new")):
        with pytest.raises(InputError, match="symbolic link|Permission denied"):
            ask(out)
    assert (secret / "a.bin").read_bytes() == b"secret"
    assert os.listdir(shared) == ["link"]


def test_a_file_that_nobody_may_write_to_is_not_replaced(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    path.chmod(0o444)
    for ask in (writing.check_writable, lambda path: writing.write_file(path, b"new")):
        with pytest.raises(InputError, match="chmod u\\+w"):
            ask(path)
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["a.bin"]


def test_the_name_beside_cannot_be_foreseen_and_is_never_a_link(tmp_path, monkeypatch):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    monkeypatch.setattr("secrets.token_hex", lambda size: "0" * 2 * size)
    name = f".minigen-{writing._home()}-{os.getpid()}-{'0' * 16}.part"
    (tmp_path / name).symlink_to(victim)
    with pytest.raises(InputError, match="File exists"):
        writing.write_file(tmp_path / "a.bin", b"new")
    assert victim.read_bytes() == b"mine"
    monkeypatch.undo()
    with writing.replace_file(tmp_path / "b.bin"):
        first = {path.name for path in tmp_path.glob("*.part")}
    with writing.replace_file(tmp_path / "b.bin"):
        assert not first & {path.name for path in tmp_path.glob("*.part")} - {name}


def test_the_longest_name_can_be_written(tmp_path):
    path = tmp_path / ("n" * 255)
    writing.check_writable(path)
    assert writing.write_file(path, b"long").read_bytes() == b"long"
    for bad in (tmp_path / ("n" * 256), tmp_path / "a\0b"):
        with pytest.raises(InputError, match="cannot be written"):
            writing.check_writable(bad)


KILLED = """if True:
    import os, signal, sys
    from minigen.writing import replace_file
    with replace_file(sys.argv[1]) as file:
        file.write(b"half")
        file.flush()
        print(os.getpid(), flush=True)
        os.kill(os.getpid(), signal.SIGKILL)"""


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "a.bin")], capture_output=True
    )
    assert done.returncode == -9
    (left,) = tmp_path.iterdir()
    assert writing.PART.fullmatch(left.name)[2] == done.stdout.decode().strip()
    writing.check_writable(tmp_path / "b.bin")
    assert list(tmp_path.iterdir()) == []


def part(folder, home, process, number=1):
    path = folder / f".minigen-{home}-{process}-{number:016x}.part"
    path.write_bytes(b"half")
    return path


def test_what_is_being_written_is_left_alone(tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    home, other = writing._home(), "0" * 8
    alive = [
        part(tmp_path, home, os.getpid()),
        part(tmp_path, home, os.getppid()),
        # of a machine whose processes cannot be asked for
        part(tmp_path, other, gone.pid),
    ]
    near = tmp_path / f".minigen-{home}-{gone.pid}-1.part"
    folder = tmp_path / f".minigen-{home}-{gone.pid}-{'1' * 16}.part"
    near.write_bytes(b"not ours")
    folder.mkdir()
    dead = [part(tmp_path, home, gone.pid, 2), part(tmp_path, other, gone.pid, 2)]
    os.utime(dead[1], (0, 0))
    writing.write_file(tmp_path / "a.bin", b"new")
    assert {*tmp_path.iterdir()} == {*alive, near, folder, tmp_path / "a.bin"}


def test_of_a_stranger_nothing_is_removed(tmp_path, monkeypatch):
    left = part(tmp_path, "0" * 8, 1)
    os.utime(left, (0, 0))
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    writing.check_writable(tmp_path / "a.bin")
    assert left.exists()


def test_special_files_are_refused_and_stay(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "null").symlink_to("/dev/null")
    for path in (tmp_path / "fifo", tmp_path / "null", "/dev/null", "/dev/full"):
        for ask in (writing.check_writable, lambda p: writing.write_file(p, b"x")):
            with pytest.raises(InputError, match="special file"):
                ask(path)
    assert (tmp_path / "fifo").is_fifo() and Path("/dev/null").is_char_device()
    # stdout of a process is a pipe here
    code = "from minigen.writing import check_writable; check_writable('/dev/stdout')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "special file" in done.stderr


def test_a_place_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    for path, message in [
        ("none/a.png", "mkdir -p"),
        ("a.jpg", r"should end in \.png"),
        ("file/a.png", "file is not a folder"),
        (".", "should end in"),
    ]:
        with pytest.raises(InputError, match=message):
            writing.check_writable(tmp_path / path, ".png")
    with pytest.raises(InputError, match="is a folder"):
        writing.check_writable(tmp_path)
    for path, message in [("file", "is not a folder"), ("no/x", "mkdir -p")]:
        with pytest.raises(InputError, match=message):
            writing.check_folder(tmp_path / path)
    with pytest.raises(InputError, match="cannot be written"):
        writing.make_folder(tmp_path / "file" / "x")
    writing.check_folder(tmp_path)
    writing.check_folder(tmp_path / "new")
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_folder_that_cannot_be_written_is_found_by_trying(tmp_path, monkeypatch):
    def refuse(path, flags, *mode):
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "open", refuse)
    for ask in (
        lambda: writing.check_writable(tmp_path / "a.png"),
        lambda: writing.check_folder(tmp_path),
        lambda: writing.check_folder(tmp_path / "new"),
        lambda: writing.write_file(tmp_path / "a.png", b""),
    ):
        with pytest.raises(InputError, match="cannot be written: Permission denied"):
            ask()


@pytest.mark.skipif(platform.system() != "Linux", reason="asks Linux for such a folder")
def test_a_command_refuses_a_folder_that_nobody_can_write():
    command = ["sample", "arpg-mnist", "--class", "1", "--out", "/proc/a.png"]
    done = subprocess.run(
        [sys.executable, "-m", "minigen", *command], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "/proc/a.png cannot be written" in done.stderr


WITHOUT = """if True:
    import os, sys
    names = "geteuid getuid fchmod fchown O_NOFOLLOW O_DIRECTORY".split()
    for name in names:
        delattr(os, name)
    os.kill = None
    from minigen import writing
    path = sys.argv[1]
    writing.check_writable(path)
    writing.write_file(path, b"new")
    print(open(path).read())"""


def test_it_works_without_what_only_posix_has(tmp_path):
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    left = part(tmp_path, writing._home(), 1)
    week = part(tmp_path, writing._home(), 2)
    os.utime(week, (0, 0))
    assert run(WITHOUT, path) == "new\n"
    assert {*tmp_path.iterdir()} == {path, left}


def writers(source):
    """Return the places where Python source writes files by itself."""
    found = []
    names = {
        "write_bytes", "write_text", "touch", "mkdir", "makedirs", "mkstemp", "tofile",
        "savez", "savez_compressed", "savetxt", "savefig", "save_file", "imsave",
        "NamedTemporaryFile", "symlink", "symlink_to", "hardlink_to", "memmap",
        "open_memmap", "shutil.copy", "shutil.copyfile", "shutil.copytree",
        "shutil.move", "os.link",
    }  # fmt: skip
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        last = name.rpartition(".")[2]
        given = (*node.args, *(k.value for k in node.keywords))
        texts = [a.value for a in given if isinstance(a, ast.Constant)]
        if last in ("open", "fdopen"):
            wrong = any(
                re.fullmatch("[rwaxbt+]*[wax+][rwaxbt+]*", str(t)) for t in texts
            )
            wrong |= name == "os.open"
        elif last in ("rename", "replace"):
            # of text, or of a dataclass, they take other arguments
            wrong = name.startswith("os.") or (len(node.args), texts) == (1, [])
            wrong &= "dataclass" not in name and not node.keywords
        elif last in ("save", "savez", "dump"):
            first = ast.unparse(node.args[-1 if last == "dump" else 0])
            second = ast.unparse(node.args[-1])
            wrong = not {first, second} & {"buffer", "file"}
        else:
            wrong = not {last, name}.isdisjoint(names)
        if wrong:
            found.append((node.lineno, name))
    return found


def test_nothing_else_writes_files():
    # functions of ours, which use the writer
    ours = {"save", "trainer.save", "results.save", "drawing.save"}
    # in a zip file, which is the writer's
    ours.add("archive.open")
    for path in sorted(ROOT.rglob("*.py")):
        if path != ROOT / "writing.py":
            found = [f for f in writers(path.read_text()) if f[1] not in ours]
            assert not found, (path, found)


WAYS = (
    "open(path, 'w')", "open(path, mode='ab')", "path.open('x')", "gzip.open(p, 'wb')",
    "os.open(path, flags)", "path.write_text(t)", "np.save(path, x)", "a.tofile(p)",
    "np.savez(buffer_path, x=x)", "image.save(path, 'png')", "torch.save(x, path)",
    "os.replace(a, b)", "part.replace(path)", "path.mkdir()", "tempfile.mkstemp()",
    "json.dump(x, handle)", "open(path, 'r+')",
    "plt.savefig(path)", "shutil.copy(a, b)",
)  # fmt: skip


@pytest.mark.parametrize("source", WAYS)
def test_every_way_to_write_a_file_is_seen(source):
    assert writers(source)


def test_what_writes_no_file_is_let_pass():
    for source in ("open(path, 'rb')", "open(path)", "text.replace('a', 'b')",
                   "replace(recipe, step=1)", "image.save(buffer, 'png')",
                   "x.copy()", "ops.move(x)", "json.dumps(x)"):  # fmt: skip
        assert not writers(source)
