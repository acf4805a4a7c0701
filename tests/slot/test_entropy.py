"""Random state and names that a target takes up while it is imported: copies have their own, or it is told.

Each test makes two copies whatever was found: what they answer shows the harm, or that there is none.
"""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

from sweepfleet.slot.fork_safety import ImportWatch
from sweepfleet.slot.project_files import Names
from tests.looking import anew, look

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are copied on Linux only")

# As torch has it: one generator of the processor's, seeded by the system when torch is imported.
TORCH = """
import os

class State(list):
    tolist = list.copy

class Generator:
    def seed(self):
        return self.manual_seed(int.from_bytes(os.urandom(6), "little") | 1 << 52)

    def manual_seed(self, seed):
        self.first = self.number = seed
        return seed

    def get_state(self):
        return State(str(self.number).encode())

default_generator = Generator()
default_generator.seed()
manual_seed = default_generator.manual_seed
get_rng_state = default_generator.get_state

def initial_seed():
    return default_generator.first

def rand():
    default_generator.number = default_generator.number * 6364136223846793005 % 2**64
    return default_generator.number
"""
THIRD = random.Random(3).random()
PYTHONS = "a random.Random is made, and cannot be asked whether it has a seed"
NUMPYS = "numbers are drawn from a numpy generator without a seed"


@pytest.fixture(autouse=True)
def torch(tmp_path: Path) -> None:
    """Something like torch is installed for the targets."""
    (tmp_path / "site-packages").mkdir()
    (tmp_path / "site-packages" / "torch.py").write_text(TORCH)


def library(folder: Path, source: str) -> None:
    """Install a library for the target."""
    (folder / "site-packages" / "installed.py").write_text(source)


@pytest.mark.parametrize(
    ("source", "expression", "finding"),
    [
        ("import numpy as np\ndata = np.random.default_rng().random()", "data", None),
        ("import numpy as np\nrng = np.random.default_rng()\ndata = rng.random()", "data", NUMPYS),
        (
            "import numpy as np\nseeds = np.random.SeedSequence()",
            "str(seeds.entropy)",
            "a numpy SeedSequence is made without a seed",
        ),
        ("import random\nrng = random.Random()", "rng.random()", PYTHONS),
        ("from uuid import uuid4\nname = uuid4().hex", "name", "fit.py:2 makes a UUID"),
        ("import secrets\nname = secrets.token_hex()", "name", "fit.py:2 makes a secret"),
        ("import os\nname = os.urandom(8).hex()", "name", "fit.py:2 draws random bytes"),
        ("import random\nsalt = random.random()", "salt", "numbers are drawn from `random` without a seed"),
        (
            "import random\nx = [random.random() for _ in range(99999)]",
            "x[0]",
            "numbers are drawn from `random` without a seed",
        ),
        ("import numpy as np\ndata = np.random.rand()", "data", NUMPYS),
        ("import torch\nweights = torch.rand()", "weights", "numbers are drawn from `torch` without a seed"),
        ("import other\ndata = other.make()", "data", NUMPYS),
        ("import helper_2\n", "helper_2.data", NUMPYS),
        (
            "import random, time; random.seed(time.time())\ndraw = random.random",
            "draw()",
            "fit.py:1 reads the clock, and a random generator is seeded, perhaps with it",
        ),
        (
            "import time, numpy as np; t = time.time_ns()\nnp.random.seed(t % 2**32)",
            "np.random.rand()",
            "fit.py:1 reads the clock, and a random generator is seeded, perhaps with it",
        ),
        ("import os\nmine = os.getpid()", "mine", "fit.py:2 asks for the process's id"),
        ("import helper\n", "helper.name", "helper.py:3 makes a UUID"),
        ("import os\nclass A:\n    mine = os.getpid()", "A.mine", "fit.py:3 asks for the process's id"),
    ],
)
def test_what_is_drawn_once_and_kept_is_found(
    tmp_path: Path, source: str, expression: str, finding: str | None
) -> None:
    """Copies have the same of it; processes of their own would each have theirs. What nobody keeps tells nothing."""
    (tmp_path / "other.py").write_text("import numpy\ndef make():\n    return numpy.random.rand()\n")
    (tmp_path / "helper_2.py").write_text("import numpy\ndata = numpy.random.rand()\n")
    (tmp_path / "helper.py").write_text("import uuid\ndef make():\n    return uuid.uuid4().hex\nname = make()\n")
    found, (one, other) = look(tmp_path, source, expression)
    assert found == ([f"{finding}. Forks would all have the same"] if finding else [])
    assert one == other != anew(tmp_path, expression)


def test_a_temporary_folder_is_found(tmp_path: Path) -> None:
    """The copies would write into one folder, and the first one that ends would take it away."""
    source = "import tempfile\nscratch = tempfile.TemporaryDirectory(dir='.')\n"
    found, (one, other) = look(tmp_path, source, "scratch.name")
    assert one == other
    assert found == ["fit.py:2 makes a temporary file or folder. Forks would all have the same"]


def test_what_only_points_do_is_no_finding(tmp_path: Path) -> None:
    """Functions that the import does not call may ask for all of it: each process does then."""
    source = (
        "import os, tempfile, time, uuid, random\ndef fit():\n    with tempfile.TemporaryDirectory() as name:\n"
        "        random.seed(time.time())\n        return [uuid.uuid4().hex, os.getpid(), name]\n"
    )
    found, (one, other) = look(tmp_path, source, "fit()")
    assert found == []
    assert not set(one) & set(other)


@pytest.mark.parametrize(
    "source",
    [
        "import random\ndraw = random.random",
        "from random import random as draw",
        "import numpy as np\ndraw = np.random.rand",
        "import torch\ndraw = torch.rand",
        "import installed\ndraw = installed.numpys.random",
        "import numpy as np\ndraw = np.random.default_rng().random",
        "import numpy as np\ndraw = np.random.RandomState().rand",
        "import installed\ndraw = installed.sampler().random",
        "import random\nrandom.seed(3)\nrandom.seed()\ndraw = random.random",
        "import tempfile as t\nnext(t._get_candidate_names())\ndraw = lambda: next(t._get_candidate_names())",
    ],
)
def test_copies_draw_numbers_of_their_own(tmp_path: Path, source: str) -> None:
    """Where nobody has set a seed, each copy has its own random state: the global ones, and those of libraries."""
    library(
        tmp_path,
        "import numpy, os, uuid\nnumpys = numpy.random.default_rng()\nmine = [os.getpid(), uuid.uuid4()]\n"
        "def sampler():\n    return numpy.random.default_rng()",
    )
    found, (one, other) = look(tmp_path, source, "draw()")
    assert found == []
    assert one != other


@pytest.mark.parametrize(
    "source",
    [
        "import random\nrandom.seed(3)\ndraw = random.random",
        "from random import random as draw, seed\nseed(3)\ndraw()",
        "import random\nrandom.setstate(random.Random(3).getstate())\ndraw = random.random",
        "import random\nrandom.seed(a=3)\nrandom.gauss(0, 1)\ndraw = lambda: random.gauss(0, 1)",
        "import numpy as np\nnp.random.seed(3)\nnp.random.rand()\ndraw = np.random.rand",
        "import numpy as np\nrng = np.random.RandomState(3)\ndraw = rng.rand",
        "import torch\ntorch.manual_seed(2**60 + 3)\ntorch.rand()\ndraw = torch.rand",
        "import numpy as np\nnp.random.RandomState(3)\nrng = np.random.RandomState()\nrng.seed(3)\ndraw = rng.rand",
        "import gc, numpy as np\ngc.set_threshold(1)\ndraw = np.random.RandomState(3).rand",
        "from sklearn.utils import check_random_state\ndraw = check_random_state(3).rand",
        "import numpy as np\nrng = np.random.default_rng(3)\ndraw = rng.random",
        "from installed import *\ndraw = lambda: [seeded.random(), old.rand()]",
    ],
)
def test_a_seed_that_is_set_by_an_import_holds_in_copies(tmp_path: Path, source: str) -> None:
    """The numbers that follow are those of a process of its own that has imported the same."""
    library(
        tmp_path,
        "import numpy\nseeded, old = numpy.random.default_rng(3), numpy.random.RandomState(3)\n"
        "unseeded = numpy.random.default_rng()\n",
    )
    found, (one, other) = look(tmp_path, source, "draw()")
    assert found == []
    assert one == other == anew(tmp_path, "draw()")


@pytest.mark.parametrize(
    ("source", "expression", "answer"),
    [
        ("from time import *\nfrom random import *\nfrom os import *\nt = time()", "t > 0", True),
        ("import time\nclass Timer:\n    clock = time.time\nt = Timer().clock()", "t > 0", True),
        (
            "import random\nclass Dice:\n    seed = random.seed\nDice().seed(3)",
            "random.random()",
            0.23796462709189137,
        ),
        (
            "import time, random\ntime.time = lambda: 42.0\nrandom.seed = abs",
            "[time.time(), random.seed(-2)]",
            [42.0, 2],
        ),
        ("import pickle, random\nkept = random.seed", "pickle.loads(pickle.dumps(kept)).__name__", "seed"),
        ("import random\nkept = random.seed\nkept(3)", "random.random()", THIRD),
        (
            "import pickle, random\nclass A:\n    kept = random.seed",
            "pickle.loads(pickle.dumps(A.kept)).__name__",
            "seed",
        ),
    ],
)
def test_a_target_finds_the_standard_library_as_it_is(
    tmp_path: Path, source: str, expression: str, answer: Any
) -> None:
    """And what it puts into it of its own stays."""
    assert look(tmp_path, source, expression).copies == [answer, answer]


def test_nothing_is_left_of_the_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Afterwards all is as it was: points pay nothing for it."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "looked_at.py").touch()
    owners = (os, random, random.Random, tempfile, time)
    before = [dict(vars(owner)) for owner in owners]
    watch = ImportWatch(Names(folder=str(tmp_path), root=str(tmp_path)))
    import looked_at  # type: ignore[import-not-found]  # noqa: F401

    watch.findings()
    assert [dict(vars(owner)) for owner in owners] == before
