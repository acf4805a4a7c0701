"""To be imported before all else of ours: ours come before what the current folder has, and start and end fast.

`python -m invoke` looks in the current folder first, and a grid's helpers may be called `grid.py` or `sweep.py`.
"""

import atexit
import gc
import sys
from pathlib import Path

ROOT = str(Path(__file__).resolve().parent.parent)
sys.path[:] = [ROOT, *(entry for entry in sys.path if entry != ROOT)]

from worker.compiled import keep  # noqa: E402 - it is to be found as the rest of ours is

keep()
# What is imported is there to stay. Looking through it for garbage again and again while more is imported, and twice
# when the process ends and gives everything back anyway, takes a fifth of a second of a command that has dask.
gc.set_threshold(10_000, 20, 50)
atexit.register(gc.freeze)
