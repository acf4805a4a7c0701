"""The timeline tool: what it records of real processes, and what it makes of that."""

from __future__ import annotations

import importlib
import os
import re
import shutil
import signal
import subprocess
import sys
from functools import reduce
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from bench.timeline.events import Event, Process, Span, nested, parse
from bench.timeline.injected import sitecustomize as injected
from bench.timeline.picture import page, svg
from bench.timeline.record import INJECTED, VARIABLE, record
from bench.timeline.slots import slots_start_s
from bench.timeline.text import lines, marks

ROOT = Path(__file__).resolve().parents[2]
GRID = """
run: points:noop
parameters: {i: {range: [0, 4, 1]}}
"""
QUIET = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
# What a slot's, the driver's and the writer's marks are, in this order.
ORDER = {
    "child": ["ready"],
    "driver": [
        "grid loaded",
        "engine up",
        "first bundle sent",
        "first result committed",
        "last result committed",
        "begins to end",
    ],
    "writer": ["tables written", "report written"],
}


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    folder = tmp_path_factory.mktemp("timeline")
    grid = folder / "tiny.yaml"
    grid.write_text(GRID)
    shutil.copy(ROOT / "bench" / "points.py", folder)
    words = ["inv", "--search-root", str(ROOT), "sweep", str(grid), "--local", "--workers", "2", "--json"]
    return record(words, env=os.environ | {"INVOKE_RUNS": str(folder / "runs")}, cwd=folder, **QUIET)


@pytest.mark.parametrize("module", injected.NAMES)
def test_every_name_that_is_told_of_is_there(module):
    """Whoever renames a function of the product renames it in the recorder: it would be missing without a word."""
    found = importlib.import_module(module)
    for path, _, _ in injected.NAMES[module]:
        assert callable(reduce(getattr, path.split("."), found)), path


def test_a_sweep_has_a_lane_for_each_process_and_marks_in_their_order(recording):
    """The driver, a child for each slot and the writer each tell what they did, in the order they did it."""
    assert recording.code == 0
    roles = [process.role for process in recording.processes]
    assert roles[0] == "driver"
    assert roles.count("child") == 2
    told = marks(recording.processes)
    for role, known in ORDER.items():
        for process in of_role(recording, role):
            assert [label for _, each, label in told if each is process and label in known] == known
    (first_import, *_) = [at_s for at_s, _, label in told if label == "target imported"]
    assert first_import < min(at_s for at_s, _, label in told if label == "ready")
    for process in recording.processes:
        assert 0 <= process.begin_s <= process.end_s
        assert process.pid == recording.processes[0].pid or process.parent


def of_role(recording, role):
    """Of the processes of a role, those that were given work: a writer may have been started in vain."""
    found = [process for process in recording.processes if process.role == role]
    return [process for process in found if process.marks] if role == "writer" else found


def test_a_sweep_tells_of_imports_calls_and_bundles(recording):
    """Each process's imports are under its own name, and calls of ours beside them; bundles are the children's."""
    (driver,), (writer,) = of_role(recording, "driver"), of_role(recording, "writer")
    assert {"numpy", "read the grid", "drive"} <= page_text(driver)
    assert {"polars", "tables", "report"} <= page_text(writer)
    assert any("bundle" in page_text(process) for process in of_role(recording, "child"))
    assert driver.busy


def page_text(process):
    found, spans = set(), [span for each in process.spans.values() for span in each]
    while spans:
        span = spans.pop()
        found |= {span.label, span.package}
        spans += span.inside
    return found


def test_the_picture_is_well_formed_and_names_every_lane_and_mark(recording):
    root = ET.fromstring(svg(recording))  # noqa: S314 - ours
    texts = {"".join(each.itertext()) for each in root.iter("{http://www.w3.org/2000/svg}text")}
    for process in recording.processes:
        if not process.is_tool:
            assert {process.role} <= texts
            assert any(text.startswith(f"{process.pid} ") for text in texts)
    for _, _, label in marks(recording.processes):
        assert any(label in text for text in texts), label
    assert page(recording).count("<svg") == 1


def test_the_text_view_names_every_process_and_mark(recording):
    said = "\n".join(lines(recording, least_s=0.0))
    for process in recording.processes:
        assert f"{process.role} {process.pid}" in said
    assert re.search(r"\d\.\d{3}  first result committed", said)
    assert "import numpy" in said


@pytest.mark.parametrize(
    ("end", "code"), [("os.kill(os.getpid(), signal.SIGKILL)", -signal.SIGKILL), ("os._exit(3)", 3)]
)
def test_a_process_that_ends_at_once_loses_no_event(end, code):
    """What happened before a SIGKILL is told, as is a forked process's own import."""
    program = (
        "import os, signal, pathlib\n"
        "if os.fork() == 0:\n"
        "    import xml.dom.minidom\n"
        f"    {end}\n"
        "import email.message\n"
        "os.wait()\n"
        f"{end}\n"
    )
    found = record([sys.executable, "-c", program])
    assert found.code == code
    parent, child = found.processes
    assert (parent.role, child.role) == ("driver", "fork of driver")
    assert child.parent == parent.pid
    assert "email" in page_text(parent)
    assert "xml" in page_text(child)
    assert "xml" not in page_text(parent)


def test_without_its_variable_nothing_is_recorded_and_nothing_is_changed():
    program = "import sys; print(sys.modules['_frozen_importlib']._find_and_load.__module__)"
    env = {name: value for name, value in os.environ.items() if name != VARIABLE}
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=env | {"PYTHONPATH": str(INJECTED)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.split() == ["_frozen_importlib"]


def test_imports_of_one_package_are_one_bar_and_others_are_inside():
    def event(kind, begin_s, end_s, name):
        return Event(kind, 7, 7, begin_s, end_s, 0.0, 0, name)

    found = nested(
        [
            event("import", 1.2, 1.6, "b"),
            event("import", 1.1, 1.7, "a.x"),
            event("import", 1.0, 2.0, "a"),
            event("import", 2.001, 2.5, "a.y"),
            event("span", 0.5, 3.0, "call"),
            event("import", 4.0, 5.0, "a.z"),
        ],
        0.5,
    )
    call, late = found
    assert [each.label for each in found] == ["call", "a.z"]
    assert (late.begin_s, late.end_s) == (3.5, 4.5)
    (bar,) = call.inside
    assert (bar.label, bar.begin_s, bar.end_s) == ("a", 0.5, 2.0)
    assert [each.label for each in bar.inside] == ["b"]


def test_a_slot_starts_with_its_first_process_and_the_import_is_not_its_start():
    def process(pid, parent, role, begin_s, *, imports=(), ready=None):
        made = Process(pid, parent, begin_s, 9.0, "", role=role)
        made.spans = {pid: [Span(*each, "import the target", "span") for each in imports]}
        made.marks = [] if ready is None else [(ready, "ready")]
        return made

    spawned = [
        process(1, 0, "driver", 0.0),
        process(2, 1, "supervisor", 1.0),
        process(3, 2, "child", 1.2, imports=[(1.5, 3.5)], ready=3.75),
    ]
    assert slots_start_s(spawned) == pytest.approx(0.75)
    forked = [
        process(1, 0, "driver", 0.0),
        process(2, 1, "supervisor", 0.5),
        process(3, 2, "template", 0.7, imports=[(1.0, 3.0)]),
        process(4, 3, "supervisor", 3.0),
        process(5, 4, "child", 3.01, ready=3.02),
        process(6, 3, "supervisor", 3.05),
        process(7, 6, "child", 3.06, ready=3.10),
    ]
    assert slots_start_s(forked) == pytest.approx(0.05)
    forked[-1].spans[7].append(Span(3.11, 3.35, "look for new code", "span"))
    assert slots_start_s(forked) == pytest.approx(0.30)
    with pytest.raises(ValueError, match="no slot"):
        slots_start_s(forked[:3])


def test_a_line_that_is_being_written_is_left_out():
    text = "import\t1\t1\t0.5\t0.6\t0.1\t0\tnumpy\nimport\t1\t1\t0.7"
    assert [event.name for event in parse(text)] == ["numpy"]


def test_the_command_ends_as_what_it_ran(tmp_path):
    """Its exit code is the command's; a picture of another kind is refused before anything runs."""
    tool = [sys.executable, "-m", "bench.timeline"]
    out = tmp_path / "t.svg"
    ran = subprocess.run(
        [*tool, "--out", str(out), "--", sys.executable, "-c", "raise SystemExit(4)"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.returncode == 4, ran.stderr
    ET.parse(out)  # noqa: S314 - ours
    for words, said in (
        (["--out", "t.png", "--", "true"], ".html or .svg"),
        (["--", "no-such-program"], "cannot be"),
    ):
        refused = subprocess.run([*tool, *words], cwd=ROOT, capture_output=True, text=True, check=False)
        assert refused.returncode == 2
        assert said in refused.stderr
