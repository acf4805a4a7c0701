"""An Executor passes the tests that the standard library's executors pass."""

import sys
import unittest

import pytest

import sweepfleet as sf
from tests.api.executor import cpython

try:
    FOLDER = cpython.path()
except LookupError:
    pytest.skip("this Python has no test_concurrent_futures; see cpython.py", allow_module_level=True)
before = list(sys.path)
if FOLDER is not None:
    sys.path.insert(0, FOLDER)
theirs = cpython.classes()
sys.path[:] = before


@pytest.fixture(autouse=True, scope="module")
def found_by_calls():
    """Calls import their functions from there."""
    if FOLDER is not None:
        sys.path.insert(0, FOLDER)
    yield
    if FOLDER is not None:
        sys.path.remove(FOLDER)


class Ours:
    """Instead of their mixins with an executor."""

    executor_type = sf.Executor


class Warm(Ours):
    """With all processes started: some tests give calls a few seconds."""

    def setUp(self):
        super().setUp()
        self.executor.submit(abs, -1).result()


def of_theirs(name: str, *, ours: type = Warm, mixed: bool = True) -> type:
    """A test case with an Executor, of one of their classes."""
    bases = (ours, theirs[name], *([theirs["ExecutorMixin"]] if mixed else []), theirs["BaseTestCase"])
    made = type(name, bases, {})
    for test, reason in cpython.NOT_OURS.items():
        if hasattr(made, test):
            setattr(made, test, unittest.skip(reason)(getattr(made, test)))
    return made


TestExecutor = of_theirs("ProcessPoolExecutorTest")
TestWait = of_theirs("WaitTests")
TestAsCompleted = of_theirs("AsCompletedTests")
TestShutdown = of_theirs("ProcessPoolShutdownTest")
TestInitializer = of_theirs("InitializerMixin", ours=Ours, mixed=False)
TestFailingInitializer = of_theirs("FailingInitializerMixin", ours=Ours, mixed=False)
