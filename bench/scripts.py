"""What one would write without us: examples/diabetes as a script of one's own, three ways.

    python -m bench.scripts (serial | pool | joblib) POINTS.json CORES

`serial` is a loop, `pool` the standard library's ProcessPoolExecutor, and `joblib` its loky processes, each as its
manual shows it. The points come from a file, since a script would make them in a line or two.
"""

import json
import sys
from pathlib import Path

from examples.diabetes.fit import fit


def fit_point(point):  # noqa: ANN001, ANN201 - a script of one's own
    """One point, by its parameters."""
    return fit(**point)


def run(way, points, cores):  # noqa: ANN001, ANN201
    """The results of all points."""
    if way == "pool":
        from concurrent.futures import ProcessPoolExecutor

        with ProcessPoolExecutor(cores) as pool:
            return list(pool.map(fit_point, points))
    if way == "joblib":
        from joblib import Parallel, delayed

        return Parallel(n_jobs=cores)(delayed(fit_point)(point) for point in points)
    return [fit_point(point) for point in points]


if __name__ == "__main__":
    results = run(sys.argv[1], json.loads(Path(sys.argv[2]).read_text()), int(sys.argv[3]))
    print(json.dumps(results))
