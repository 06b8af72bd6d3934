"""Signals that ask a run to save and stop."""

import os
import signal

import pytest

from purejaxrl_gae.runs.interrupts import StopRequests


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_first_signal_is_noted_and_the_next_is_the_usual_one(number):
    usual = signal.default_int_handler  # whatever the process was started with, as by nohup
    before = signal.signal(number, usual)
    try:
        with StopRequests() as stop:
            assert stop.signal is None
            os.kill(os.getpid(), number)
            assert stop.signal is number
            assert signal.getsignal(number) is usual
        assert signal.getsignal(number) is usual
    finally:
        signal.signal(number, before)


def test_a_closed_terminal_stays_ignored_where_it_is():
    usual = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with StopRequests() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
            assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, usual)
