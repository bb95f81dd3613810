"""Compiled kernels are kept safely, and whatever is wrong there, kernels run right."""

import errno
import hashlib
import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from minigen import doctor, kernel_cache, writing
from minigen.errors import InputError

numba = pytest.importorskip("numba")

from minigen import target  # noqa: E402

SOURCES = (
    "cpu/scalar.py", "gpu/warps.py", "ops/gelu/cpu.py", "ops/linear/cuda_tensor.py",
)  # fmt: skip


def add_one(x):
    return x + 1


def add_two(x):
    return x + 2


@pytest.fixture
def base(tmp_path, monkeypatch):
    """A folder for the caches of one test, whose functions count as the package's."""
    monkeypatch.setenv("MINIGEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setattr(kernel_cache, "__file__", __file__)
    renew()
    yield tmp_path / "cache"
    renew()


def renew():
    """Forget what a process decides once."""
    kernel_cache.location.cache_clear()
    kernel_cache._tell.cache_clear()
    writing._sweep.cache_clear()


def run(function=add_one):
    """Run a kernel as a new process would; say whether its file was found, and used."""
    kernel = target.serial(function)
    assert kernel(np.float32(1)) == function(1)
    return sum(kernel.stats.cache_hits.values()) == 1


def folder():
    return kernel_cache.location().folder


def files():
    return sorted(path.name for path in folder().iterdir())


def test_a_kernel_is_kept_and_found_again(base):
    assert not run() and run()
    (path,) = folder().iterdir()
    assert folder().parent == base and path.suffix == ".nbc"
    assert not run(add_two) and run() and run(add_two)
    # another kind of argument is another kernel
    kernel = target.serial(add_one)
    assert kernel(np.float64(1)) == 2 and len(files()) == 3


DAMAGED = {
    "empty": lambda old: b"",
    "cut in its digest": lambda old: old[:20],
    "cut after its digest": lambda old: old[:32],
    "cut in the middle": lambda old: old[: len(old) // 2],
    "cut by a byte": lambda old: old[:-1],
    "longer": lambda old: old + b"\0",
    "changed": lambda old: old[:-100] + bytes([old[-100] ^ 1]) + old[-99:],
    "zeros": lambda old: bytes(len(old)),
    "text": lambda old: b"not a kernel " * 100,
    "whole, but no pickle": lambda old: whole(b"no pickle"),
    "whole, but something else": lambda old: whole(pickle.dumps(("a", 1))),
    "of other arguments": lambda old: whole(
        pickle.dumps((pickle.loads(old[32:])[0], "a", dict, {"a": 1}))
    ),
}


def whole(content):
    return hashlib.sha256(content).digest() + content


@pytest.mark.parametrize("damage", DAMAGED.values(), ids=DAMAGED)
def test_a_damaged_file_is_compiled_again_and_rewritten(base, damage):
    run()
    (path,) = folder().iterdir()
    before = path.read_bytes()
    path.write_bytes(damage(before))
    assert not run() and run()
    assert len(files()) == 1 and path.read_bytes() != damage(before)


def test_a_file_under_the_name_of_another_kernel_is_compiled_again(base):
    run()
    (one,) = folder().iterdir()
    run(add_two)
    (two,) = {*folder().iterdir()} - {one}
    before = two.read_bytes()
    two.write_bytes(one.read_bytes())
    assert not run(add_two) and run(add_two) and run()
    assert two.read_bytes() != one.read_bytes()
    # nor is one run that was copied from the folder of other sources
    (of, name), *rest = pickle.loads(before[32:])
    assert (of, name) == (folder().name, two.name)
    two.write_bytes(whole(pickle.dumps((("kernels-aaaaaaaaaaaa", name), *rest))))
    assert not run(add_two) and run(add_two)


def test_a_folder_or_nothing_in_the_place_of_a_file_does_no_harm(base, capsys):
    run()
    (path,) = folder().iterdir()
    path.unlink()
    path.mkdir()
    assert not run() and not run()
    assert capsys.readouterr().err.count("cannot be kept") == 1


class Evil:
    """What runs code when it is read; a file of it is whole."""

    def __reduce__(self):
        return os.mkdir, (os.environ["MINIGEN_CACHE"] + "/it-ran",)


def plant(path):
    path.write_bytes(whole(pickle.dumps(Evil())))


def test_what_was_planted_would_run(base):
    # so that the tests below can fail
    run()
    (path,) = folder().iterdir()
    plant(path)
    assert not run() and (base / "it-ran").is_dir()


def refuse(base, capsys, reason):
    """Expect the folder not to be used: nothing planted runs, and it is said once."""
    (path,) = (base / kernel_cache.wanted_folder().name).resolve().iterdir()
    plant(path)
    renew()
    assert not run() and not run(add_two) and run()
    assert not (base / "it-ran").exists()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and reason in said and "MINIGEN_CACHE" in said
    assert folder().parent.parent == base.parent / "temporary"
    assert folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("mode", [0o777, 0o770, 0o722])
def test_a_folder_that_others_can_write_is_not_used(base, capsys, mode):
    run()
    folder().chmod(mode)
    refuse(base, capsys, "can be written by other users")


def test_a_folder_that_is_a_link_is_not_used(base, capsys):
    run()
    folder().rename(base / "elsewhere")
    folder().symlink_to(base / "elsewhere")
    refuse(base, capsys, "is not a folder")


def test_a_folder_of_another_user_is_not_used(base, capsys, monkeypatch):
    run()
    found = folder().stat().st_uid
    lstat = os.lstat

    def of_another(path):
        other = list(lstat(path))
        other[4] = found + (Path(path).parent == base)
        return os.stat_result(other)

    monkeypatch.setattr(os, "lstat", of_another)
    refuse(base, capsys, "belongs to another user")


def test_a_file_of_another_user_is_not_read(base, monkeypatch):
    if os.geteuid():
        pytest.skip("only root makes files of others")
    run()
    (path,) = folder().iterdir()
    plant(path)
    os.chown(path, 65534, 65534)
    assert not run() and run()
    assert not (base / "it-ran").exists()


def test_the_folder_is_for_the_user_alone(base):
    before = os.umask(0)
    try:
        run()
    finally:
        os.umask(before)
    assert folder().stat().st_mode & 0o777 == 0o700
    folder().chmod(0o755)
    renew()
    assert run() and folder().stat().st_mode & 0o777 == 0o700


def test_no_rights_are_added_to_a_folder(base):
    run()
    for mode in (0o500, 0o555):
        folder().chmod(mode)
        renew()
        assert run() and folder().stat().st_mode & 0o777 == 0o500
    folder().chmod(0o700)


def test_warmup_says_so_where_kernels_cannot_be_kept(base, monkeypatch):
    from minigen.commands.machine import _kept

    run()
    assert _kept() == "all is ready"

    def refuse(path):
        raise InputError(f"{path} cannot be written: Read-only file system")

    monkeypatch.setattr("minigen.writing.check_folder", refuse)
    assert "compiles them again" in _kept() and "Read-only" in _kept()


@pytest.mark.parametrize("mode", [0o777, 0o720, 0o702])
def test_a_temporary_folder_that_others_can_write_is_not_used(base, capsys, mode):
    base.write_bytes(b"a file")
    above = kernel_cache.folders()[1].parent
    above.mkdir(parents=True)
    above.chmod(mode)
    assert not run() and not run() and list(above.iterdir()) == []
    assert "are not kept" in capsys.readouterr().err
    above.chmod(0o755)
    renew()
    assert not run() and run() and folder().parent == above
    assert above.stat().st_mode & 0o777 == 0o700


def test_a_temporary_folder_of_another_user_is_not_used(base, monkeypatch):
    base.write_bytes(b"a file")
    above = kernel_cache.folders()[1].parent
    above.mkdir(mode=0o700, parents=True)
    other = above.stat().st_ino
    monkeypatch.setattr(kernel_cache, "is_mine", lambda found: found.st_ino != other)
    assert not run() and not run() and list(above.iterdir()) == []


HOMELESS = [
    {"HOME": ""},
    {"HOME": "."},
    {"HOME": "", "MINIGEN_CACHE": "~/x"},
    {"MINIGEN_CACHE": "~nobodyatall/x"},
]


@pytest.mark.parametrize("given", HOMELESS)
def test_of_a_home_that_is_not_known_nothing_is_made(base, capsys, monkeypatch, given):
    here = base.parent / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    for name in ("MINIGEN_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    assert not run() and run() and list(here.iterdir()) == []
    assert folder().parent.parent == base.parent / "temporary"
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "home folder in ~" in said
    assert not doctor.examine_cache().well


def test_without_a_place_kernels_run_and_it_is_said_once(base, capsys):
    base.write_bytes(b"a file")
    assert not run() and not run(add_two) and run()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"kept in {base.parent}/temporary" in said
    (base.parent / "temporary").rename(base.parent / "moved")
    (base.parent / "temporary").write_bytes(b"a file")
    renew()
    assert not run() and not run() and kernel_cache.location().folder is None
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "are not kept" in said


def test_a_machine_with_no_temporary_folder_either(base, capsys, monkeypatch):
    def fail():
        raise FileNotFoundError(2, "No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", fail)
    assert not run() and run()
    base.rename(base.parent / "moved")
    base.write_bytes(b"a file")
    renew()
    assert not run() and not run() and not doctor.examine_cache().well
    assert capsys.readouterr().err.count("are not kept") == 1


def fail_to_write(monkeypatch, number):
    def fail(path, flags, mode=0o777, **options):
        if flags & os.O_CREAT:
            raise OSError(number, os.strerror(number), str(path))
        return opened(path, flags, mode, **options)

    opened = os.open
    monkeypatch.setattr(os, "open", fail)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_warm_cache_that_cannot_be_written_is_read(base, capsys, monkeypatch, number):
    run()
    fail_to_write(monkeypatch, number)
    renew()
    assert run() and capsys.readouterr().err == ""
    assert not run(add_two) and not run(add_two) and run()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and os.strerror(number) in said
    finding = doctor.examine_cache()
    assert not finding.well and os.strerror(number) in finding.note


def test_a_disk_that_fills_up_leaves_nothing_behind(base, capsys, monkeypatch):
    def fail(number):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fail)
    assert not run() and not run() and files() == []
    assert capsys.readouterr().err.count("No space left") == 1


def test_a_cache_that_vanishes_is_made_again(base):
    run()
    shutil.rmtree(base)
    assert not run() and run()
    assert folder().stat().st_mode & 0o777 == 0o700


def test_old_folders_of_other_sources_are_removed(base):
    run()
    now = folder().stat().st_mtime
    month = kernel_cache.MONTH
    names = {
        "kernels-aaaaaaaaaaaa": now - month - 9,
        "kernels-bbbbbbbbbbbb": now - month + 9,
        "kernels-mine": 0,
        "kernels-cccccccccccc.txt": 0,
        "hypothesis": 0,
        folder().name: 0,
    }
    for name, stamp in names.items():
        (base / name).mkdir(exist_ok=True)
        (base / name / "a.nbc").write_bytes(b"")
        os.utime(base / name, (stamp, stamp))
    target_of_link = base.parent / "kernels-dddddddddddd"
    target_of_link.mkdir()
    os.utime(target_of_link, (0, 0))
    (base / target_of_link.name).symlink_to(target_of_link)
    renew()
    assert run()
    left = {*names, target_of_link.name} - {"kernels-aaaaaaaaaaaa"}
    assert {path.name for path in base.iterdir()} == left
    assert target_of_link.is_dir() and folder().stat().st_mtime >= now


def test_of_another_user_no_folder_is_removed(base, monkeypatch):
    run()
    other = base / "kernels-aaaaaaaaaaaa"
    other.mkdir()
    os.utime(other, (0, 0))
    monkeypatch.setattr(kernel_cache, "is_mine", lambda found: False)
    assert kernel_cache.kept_in(base) == []
    kernel_cache._tidy(folder())
    assert other.is_dir()


def test_it_works_without_what_only_posix_has(base, monkeypatch, capsys):
    for name in ("geteuid", "getuid", "fchmod", "fchown", "O_NOFOLLOW", "O_DIRECTORY"):
        monkeypatch.delattr(os, name)
    assert not run() and run()
    assert kernel_cache.folders()[1].parent.name == "minigen-cache"
    assert doctor.examine_cache().well and capsys.readouterr().err == ""


def test_the_folder_is_where_it_was_asked_for(monkeypatch, tmp_path):
    def wanted(**variables):
        for name in ("MINIGEN_CACHE", "XDG_CACHE_HOME"):
            monkeypatch.delenv(name, raising=False)
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        return kernel_cache.wanted_folder().parent

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    own = tmp_path / ".cache" / "minigen"
    assert wanted() == wanted(MINIGEN_CACHE="") == wanted(XDG_CACHE_HOME="") == own
    assert wanted(XDG_CACHE_HOME="relative") == own
    assert wanted(XDG_CACHE_HOME="/x") == Path("/x/minigen")
    assert wanted(XDG_CACHE_HOME="/x", MINIGEN_CACHE="") == Path("/x/minigen")
    assert wanted(XDG_CACHE_HOME="/x", MINIGEN_CACHE="/y") == Path("/y")
    assert wanted(MINIGEN_CACHE="~/z") == tmp_path / "z"
    assert wanted(MINIGEN_CACHE="here") == tmp_path / "here"


def test_numba_never_chooses_where(base, monkeypatch, tmp_path):
    config = numba.core.config
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "numbas"))
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "Nonsense", raising=False)
    assert not run() and run()
    assert not (tmp_path / "numbas").exists() and len(files()) == 1
    assert "CACHE_DIR" not in Path(target.__file__).read_text()


def test_every_kernel_of_the_table_is_kept_by_this_cache():
    from minigen import backends

    backends.table("numba")
    import minigen.bench.ceilings  # noqa: F401

    found = [
        value
        for name, module in list(sys.modules.items())
        if name.startswith("minigen.")
        for value in vars(module).values()
        if hasattr(value, "targetoptions") and "inline" not in value.targetoptions
    ]
    assert len(found) > 50
    # what a factory made is a part of kernels, which are kept with it
    parts = {"_unit.<locals>.unit"}
    kept = [one for one in found if one.py_func.__qualname__ not in parts]
    for dispatcher in kept:
        assert type(dispatcher._cache) is kernel_cache.Kept, dispatcher


def test_a_function_of_which_not_all_is_known_is_not_kept(base, monkeypatch):
    step = 3
    for function in (lambda x: x + step, eval("lambda x: x + 3")):
        kernel = target.serial(function)
        assert kernel(1) == 4
    monkeypatch.undo()
    assert not isinstance(target.serial(add_one)._cache, kernel_cache.Kept)


def test_a_cuda_kernel_is_kept_and_restored_alike(base, monkeypatch):
    if not target.has_compiler():
        pytest.skip("numba-cuda or NVIDIA's compiler is missing")
    from unittest import mock

    monkeypatch.setattr(kernel_cache, "__file__", target.__file__)
    from minigen.ops.silu import cuda

    kernel, x = cuda._silu, np.zeros(4, np.float32)
    types = target.argument_types((x, x))
    device = mock.Mock(compute_capability=(8, 0))
    for name, value in {
        "dispatcher.get_current_device": lambda: device,
        "codegen.devices.get_context": lambda: mock.Mock(device=device),
        "codegen.runtime.get_version": lambda: (13, 0),
    }.items():
        monkeypatch.setattr(f"numba.cuda.{name}", value)
    module = sys.modules[type(kernel).__module__]
    compiled = module._Kernel(kernel.py_func, types, **kernel.targetoptions)
    code = compiled._codelibrary.get_cubin(cc=(8, 0)).code
    cache = kernel._cache
    assert cache.load_overload(types, kernel.targetctx) is None
    cache.save_overload(types, compiled)
    again = cache.load_overload(types, kernel.targetctx)
    assert again is not compiled and again.signature == compiled.signature
    assert again._codelibrary.get_cubin(cc=(8, 0)).code == code
    (path,) = folder().iterdir()
    path.write_bytes(path.read_bytes()[:-1])
    assert cache.load_overload(types, kernel.targetctx) is None
    compiled.launch_config_sensitive = True
    path.unlink()
    cache.save_overload(types, compiled)
    assert files() == []


@pytest.mark.in_parts
@pytest.mark.slow
@pytest.mark.parametrize("path", (*SOURCES, "checks.py", "ops/intrinsics.py"))
def test_an_edit_of_what_kernels_are_made_of_names_another_folder(
    tmp_path, monkeypatch, path
):
    copied = tmp_path / "minigen" / path
    before = hash_of_copy(tmp_path, monkeypatch)
    copied.write_text(copied.read_text() + "# edited\n")
    assert hash_of_copy(tmp_path, monkeypatch) != before


def test_a_changed_specification_compiles_nothing_again(tmp_path, monkeypatch):
    before = hash_of_copy(tmp_path, monkeypatch)
    specs = sorted((tmp_path / "minigen").glob("ops/*/spec.py"))
    assert len(specs) > 30
    for spec in specs:
        spec.write_text("SPECS = ()\n")
    assert hash_of_copy(tmp_path, monkeypatch) == before


def hash_of_copy(tmp_path, monkeypatch):
    package = tmp_path / "minigen"
    if not package.exists():
        ignored = shutil.ignore_patterns("weights", "__pycache__")
        shutil.copytree(Path(target.__file__).parent, package, ignore=ignored)
    monkeypatch.setattr(kernel_cache, "__file__", str(package / "kernel_cache.py"))
    return kernel_cache.source_hash.__wrapped__()


def test_an_edit_of_a_helper_is_seen_whatever_is_set(tmp_path):
    package = tmp_path / "minigen"
    shutil.copytree(Path(target.__file__).parent, package, dirs_exist_ok=True)
    code = (
        "import sys; sys.path.insert(0, '.'); import numpy as np; "
        "from minigen import backends; "
        "print(backends.table('numba').silu(np.float32([[[1, 2]]])).sum())"
    )
    given = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "numbas")}
    given |= {"MINIGEN_CACHE": "/proc/none", "TMPDIR": str(tmp_path)}
    given.pop("PYTHONPATH", None)

    def draw():
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, env=given,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        return float(done.stdout)

    before = draw()
    helper = package / "cpu" / "scalar.py"
    text = helper.read_text()
    line = "return x * (above / (np.float32(1) + small))"
    assert line in text
    helper.write_text(text.replace(line, f"return np.float32(100) * {line[7:]}"))
    assert draw() == pytest.approx(100 * before)


def test_the_models_that_ship_are_those_in_the_folder():
    weights = Path(doctor.__file__).parent / "weights"
    assert {*doctor.SHIPPED} == {path.stem for path in weights.glob("*.safetensors")}


def test_what_is_kept_is_loaded_without_what_only_a_compiler_needs(tmp_path):
    """Which a kernel that is compiled after it finds all the same."""
    code = (
        "import sys\n"
        "import numpy as np\n"
        "from minigen import backends\n"
        "ops, x = backends.table('numba'), np.ones((2, 8), np.float32)\n"
        "print(ops.rms_norm(x[None], x[0], 1e-5).tolist())\n"
        "print('numba.np.linalg' in sys.modules)\n"
    )
    more = "print(ops.silu(x[None]).tolist(), 'numba.np.linalg' in sys.modules)\n"
    given = {**os.environ, "MINIGEN_CACHE": str(tmp_path)}

    def run(code):
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, env=given, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    compiled, true = run(code)
    loaded, false, silu = run(code + more)
    assert (true, false) == ("True", "False") and loaded == compiled
    assert silu.endswith("True") and run(code + more)[2] == silu.replace(
        "True", "False"
    )
