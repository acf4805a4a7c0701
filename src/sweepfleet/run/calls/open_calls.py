"""What a client has asked a driver for and has no answer to, so that it can ask another driver for the same."""

from __future__ import annotations

from collections.abc import Iterator

from sweepfleet.run.calls import wire
from sweepfleet.slot.calls.batch import indexes_of
from sweepfleet.slot.calls.frames import Frame


class OpenCalls:
    """The client's side; the caller has a lock."""

    def __init__(self) -> None:
        self._hello: Frame | None = None
        self._functions: dict[str, Frame] = {}
        self._bundles: dict[int, Frame] = {}  # by index of an open call: the bundle that it was sent in
        self._last: Frame | None = None  # that no more calls come
        self._accepted = self._ready = False

    def __len__(self) -> int:
        return len(self._bundles)

    def sent(self, frame: Frame) -> None:
        """The client sends a frame."""
        match frame.kind:
            case "hello":
                self._hello = frame
            case "function":
                self._functions[frame.header["digest"]] = frame
            case "forget":
                self._functions.pop(frame.header["digest"], None)
            case "bundle":
                self._bundles |= dict.fromkeys(indexes_of(frame), frame)
            case "end" | "stop":
                self._last = frame

    def received(self, frame: Frame) -> Frame | None:
        """What the client is to be given of a driver's frame: what it has had from an earlier driver is left out."""
        match frame.kind:
            case "accepted":
                first, self._accepted = not self._accepted, True
                return frame if first else None
            case "ready":
                first, self._ready = not self._ready, True
                return frame if first else wire.slots(frame.header["slots"], ahead=frame.header["ahead"])
            case "results":
                for index in indexes_of(frame):
                    self._bundles.pop(index, None)
            case "returned":
                for index in frame.header["indexes"]:
                    self._bundles.pop(index, None)
        return frame

    def again(self) -> Iterator[Frame]:
        """The frames that ask another driver for all that is open."""
        if self._hello is not None:
            yield self._hello
        yield from self._functions.values()
        bundles = {id(frame): frame for frame in self._bundles.values()}
        for frame in bundles.values():
            number, calls = wire.calls_of(frame)
            left = [call for call in calls if self._bundles.get(call.index) is frame]
            yield frame if len(left) == len(calls) else wire.bundle(number, left)
        if self._last is not None:
            yield self._last
