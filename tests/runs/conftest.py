"""What tests of runs share."""

import contextlib
import resource
import signal

import pytest


class SignalAtThirdLook:
    """Stands in for StopRequests: SIGTERM arrives while the second chunk runs."""

    def __init__(self):
        self.looks = 0

    @property
    def signal(self):
        self.looks += 1
        return signal.SIGTERM if self.looks > 2 else None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        return None


@pytest.fixture
def signal_at_third_look():
    """The class that stands in for StopRequests."""
    return SignalAtThirdLook


@pytest.fixture
def files_of_at_most():
    """Lets no file of this process grow beyond so many bytes: a write then fails as on a full disk."""

    @contextlib.contextmanager
    def limited(size):
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limited
