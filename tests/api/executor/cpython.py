"""CPython's own tests of executors, of the Python in use: where they are, and which of them cannot apply.

Some Pythons come without them. Debian has those of its Python in the package libpython3.11-testsuite.
"""

import atexit
import importlib
import importlib.util
import shutil
import sys
import tempfile
from pathlib import Path

DEBIANS = Path(f"/usr/lib/python{sys.version_info.major}.{sys.version_info.minor}")
# By class and by test; what is not here applies. Each promise behind them has a test of ours where it can be made.
NOT_OURS = {
    "test_interpreter_shutdown": "its program imports the executor from concurrent.futures; test_ends has ours",
    "test_submit_after_interpreter_shutdown": "as test_interpreter_shutdown",
    "test_hang_gh83386": "as test_interpreter_shutdown",
    "test_cancel_futures_wait_false": "as test_interpreter_shutdown",
    "test_processes_terminate": "looks at ProcessPoolExecutor's processes; test_ends looks at ours",
    "test_context_manager_shutdown": "makes a ProcessPoolExecutor, and looks at its processes",
    "test_del_shutdown": "makes a ProcessPoolExecutor, and looks at its thread and its queue",
    "test_shutdown_no_wait": "makes a ProcessPoolExecutor, and looks at its thread and its queue",
    "test_max_workers_too_large": "a limit of Windows",
    "test_killed_child": "one process that ends breaks ProcessPoolExecutor; of ours it fails its call alone",
    "test_traceback": "asks for the private class of ProcessPoolExecutor's tracebacks",
    "test_traceback_when_child_process_terminates_abruptly": "as test_killed_child",
    "test_ressources_gced_in_workers": "needs a multiprocessing context",
    "test_saturation": "counts ProcessPoolExecutor's processes; needs a multiprocessing context",
    "test_idle_process_reuse_one": "counts ProcessPoolExecutor's processes",
    "test_idle_process_reuse_multiple": "counts ProcessPoolExecutor's processes",
    "test_max_tasks_per_child": "an argument of ProcessPoolExecutor's alone",
    "test_max_tasks_per_child_defaults_to_spawn_context": "an argument of ProcessPoolExecutor's alone",
    "test_max_tasks_early_shutdown": "an argument of ProcessPoolExecutor's alone",
    "test_python_finalization_error": "replaces a function that ProcessPoolExecutor starts its thread with",
    "test_process_fork_from_a_threadpool": "about fork in multiprocessing",
    "test_force_shutdown_workers": "a method of ProcessPoolExecutor's alone",
    "test_force_shutdown_workers_invalid_op": "a method of ProcessPoolExecutor's alone",
    "test_force_shutdown_workers_stops_pool": "a method of ProcessPoolExecutor's alone",
    "test_kill_workers": "a method of ProcessPoolExecutor's alone",
    "test_terminate_workers": "a method of ProcessPoolExecutor's alone",
}
# Whole classes: of threads and interpreters, and ExecutorDeadlockTest, which asks that a crash breaks the executor.


def path() -> str | None:
    """The folder to have first on `sys.path` for them, here and where calls are executed; None: none is needed.

    Raises LookupError where this Python has none.
    """
    if importlib.util.find_spec("test.test_concurrent_futures") is not None:
        return None
    if not any(DEBIANS.glob("test/test_concurrent_futures*")):
        raise LookupError
    folder = tempfile.mkdtemp(prefix="cpython-tests-")  # with that one package of Debian's, and not all its modules
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    Path(folder, "test").symlink_to(DEBIANS / "test")
    for name in [name for name in sys.modules if name == "test" or name.startswith("test.")]:
        del sys.modules[name]
    return folder


def copy_to(folder: Path) -> None:
    """Have them in a folder, as a package that others import from there. Raises LookupError as `path` does."""
    found = path()
    place = Path(found, "test") if found is not None else Path(importlib.import_module("test").__path__[0])
    (folder / "test").mkdir()
    for part in ("__init__.py", "support", *(each.name for each in place.glob("test_concurrent_futures*"))):
        copy = shutil.copytree if (place / part).is_dir() else shutil.copy
        copy(place / part, folder / "test" / part)


def names(*, package: bool) -> tuple[str, ...]:
    """The modules that have them: one, or from Python 3.12 on a package's."""
    name = "test.test_concurrent_futures"
    parts = ("executor", "test_init", "test_shutdown", "test_wait", "test_as_completed", "test_process_pool", "util")
    return tuple(f"{name}.{part}" for part in parts) if package else (name,)


def classes() -> dict[str, type]:
    """Their classes, by name."""
    package = hasattr(importlib.import_module("test.test_concurrent_futures"), "__path__")
    modules = [importlib.import_module(name) for name in names(package=package)]
    return {name: value for module in modules for name, value in vars(module).items()}
