"""Records what this Python process does and when, for `bench.timeline`; does nothing unless that asks for it.

Python imports this file at its start wherever this folder is on PYTHONPATH. It needs nothing that Python has not
loaded by then, so that the times are the program's own. Each event is one appended line of a file that is opened for
it alone: a process that is killed loses none, and one that closes every file that it has cannot redirect them.
"""

import sys
import time

BEGIN_S = time.perf_counter()

import os  # noqa: E402
from posix import getpid  # noqa: E402 - os.getpid may be watched: whose module asks for it at its import

FILE = os.environ.get("SWEEPFLEET_TIMELINE")
SHORTEST_S = 0.002  # an import that takes less is part of the one around it
CLEAN = str.maketrans("\t\n\r", "   ")

# What becomes a span, a mark or a role, by the module that it is in: (name, kind, what the picture calls it). A span
# is a call, a mark the end of one, and a role what the process is from that call on. `begins`
# and `ends` are the two ends of one span, and `drops` takes its begin back.
NAMES = {
    "sweepfleet.grid.load": [("load", "span", "read the grid"), ("load", "mark", "grid loaded")],
    "sweepfleet.slot.pool": [("prepare", "span", "start the children"), ("Pool.ready", "span", "wait for the slots")],
    "sweepfleet.run.sweep": [("anything_left", "span", "look for what is left"), ("run_sweep", "span", "run_sweep")],
    "sweepfleet.run.provenance": [("provenance", "span", "ask Git")],
    "sweepfleet.run.ledger": [("Ledger.__init__", "span", "open the ledger"), ("Ledger.record", "span", "commit")],
    "sweepfleet.run.driver": [("Driver.run", "span", "drive")],
    "sweepfleet.run.engine": [
        ("Engine.__init__", "span", "give workers their slots"),
        ("Engine.__init__", "mark", "engine up"),
        ("Engine.submit", "span", "send a bundle"),
    ],
    "distributed": [("LocalCluster.__init__", "span", "LocalCluster"), ("Client.__init__", "span", "dask client")],
    "sweepfleet.run.files_writer": [
        ("FilesWriter.start", "span", "start the writer"),
        ("FilesWriter.write", "span", "wait for the writer"),
    ],
    "sweepfleet.run.results": [("write_results", "span", "tables"), ("write_results", "mark", "tables written")],
    "sweepfleet.run.summary": [("summarize", "span", "summary")],
    "sweepfleet.run.report": [("write_report", "span", "report"), ("write_report", "mark", "report written")],
    "gc": [("freeze", "role", "template")],
    "sweepfleet.slot.supervisor": [("_watch", "role", "supervisor")],
    "sweepfleet.slot.code": [("code_of", "span", "find the code"), ("Code.news", "span", "look for new code")],
    "sweepfleet.slot.target": [("find", "span", "import the target"), ("find", "mark", "target imported")],
    "sweepfleet.slot.surroundings": [("Surroundings.__init__", "mark", "ready")],
    "sweepfleet.slot.writer": [
        ("Writer.restart", "begins", "bundle"),
        ("Writer.idle", "ends", "bundle"),
        ("Writer.__init__", "drops", "bundle"),  # which calls both of these
    ],
    "subprocess": [("Popen._execute_child", "started", ""), ("Popen._handle_exitstatus", "waited", "")],
}

now = time.perf_counter
cpu_s = time.process_time
begun = {}  # spans that `begins` has begun, by label


def tell(kind, begin_s, end_s, name, other=0):
    """Append one event."""
    line = f"{kind}\t{getpid()}\t{thread()}\t{begin_s:.6f}\t{end_s:.6f}\t{cpu_s():.4f}\t{other}\t"
    data = (line + name.translate(CLEAN) + "\n").encode(errors="replace")
    try:
        fd = os.open(FILE, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
    except OSError:
        return  # the folder is gone, or this process has no files left: it is its work that counts
    try:
        os.write(fd, data)
    except OSError:
        pass
    finally:
        os.close(fd)


def wrap(holder, name, kind, label):
    """Put a function that tells of each call in a function's place."""
    original = getattr(holder, name)

    def told(*args, **kwargs):
        begin_s = now()
        if kind == "role":
            tell("role", begin_s, begin_s, label)
        elif kind == "ends" and label in begun:
            tell("span", begun.pop(label), begin_s, label)
        try:
            return original(*args, **kwargs)
        finally:
            end_s = now()
            if kind in ("span", "mark"):
                tell(kind, begin_s if kind == "span" else end_s, end_s, label)
            elif kind == "begins":
                begun[label] = end_s
            elif kind == "drops":
                begun.pop(label, None)
            elif kind == "started":  # a Popen whose program has been started
                tell("started", begin_s, end_s, " ".join(map(str, list(args[1]))), getattr(args[0], "pid", 0) or 0)
            elif kind == "waited":
                tell("waited", end_s, end_s, "", args[0].pid)

    told.__name__, told.__qualname__, told.__doc__ = name, getattr(original, "__qualname__", name), original.__doc__
    told.__module__, told.__wrapped__ = original.__module__, original
    setattr(holder, name, told)


def wrap_all(module_name):
    """Wrap what is to be told of in a module that has just been imported."""
    for path, kind, label in NAMES[module_name]:
        holder = sys.modules.get(module_name)
        *outer, name = path.split(".")
        for each in outer:
            holder = getattr(holder, each, None)
        if hasattr(holder, name):
            wrap(holder, name, kind, label)


def install():
    """Begin to record."""
    global thread  # noqa: PLW0603 - `_thread` is loaded for those alone who record
    import _thread
    import atexit

    thread = _thread.get_native_id
    bootstrap = sys.modules["_frozen_importlib"]
    original = bootstrap._find_and_load

    def find_and_load(name, import_):
        # Called for whatever is not in sys.modules yet, by the import statement and by importlib alike.
        begin_s = now()
        try:
            return original(name, import_)
        finally:
            end_s = now()
            if end_s - begin_s >= SHORTEST_S:
                tell("import", begin_s, end_s, name)
            if name in NAMES and name in sys.modules:
                wrap_all(name)

    bootstrap._find_and_load = find_and_load
    exit_now = os._exit

    def exit_told(status):
        tell("exit", now(), now(), "os._exit")
        exit_now(status)

    os._exit = exit_told
    os.register_at_fork(after_in_child=lambda: tell("forked", now(), now(), "", os.getppid()))
    atexit.register(lambda: tell("exit", now(), now(), "end of Python"))
    tell("begin", BEGIN_S, now(), " ".join(sys.orig_argv), os.getppid())


if FILE:
    install()
