"""A call that tells when it begins and ends, for processes that import it by one name."""

import time
from pathlib import Path


def slow_log(path, number):
    with Path(path).open("a") as log:
        log.write(f"{number}\n")
    time.sleep(0.001)
    with Path(path).with_name("finished").open("a") as log:
        log.write(f"{number}\n")
    return number * 2


def squared(x):
    return x**2
