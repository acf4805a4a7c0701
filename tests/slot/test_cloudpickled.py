"""cloudpickle's pickles with the names of files."""

import pickle

from sweepfleet.slot import cloudpickled


def test_code_keeps_its_files_name_whatever_cloudpickle_writes(monkeypatch):
    as_it_was = cloudpickled._reduce

    def forgets(code):
        make, arguments = as_it_was(code)
        return make, tuple("<dynamic-code>" if each == code.co_filename else each for each in arguments)

    monkeypatch.setattr(cloudpickled, "_reduce", forgets)
    outer = pickle.loads(cloudpickled.dumps(lambda: lambda: 3))  # noqa: S301
    assert outer.__code__.co_filename == outer().__code__.co_filename == __file__
    assert outer()() == 3
