"""To be imported before all else of ours: commands start and end fast."""

import atexit
import gc

from sweepfleet.slot.compiled import keep

keep()
# What is imported is there to stay. Looking through it for garbage again and again while more is imported, and twice
# when the process ends and gives everything back anyway, takes a fifth of a second of a command that has dask.
gc.set_threshold(10_000, 20, 50)
atexit.register(gc.freeze)
