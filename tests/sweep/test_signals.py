"""A signal that stops a command is heeded wherever it comes."""

import signal
import time

import pytest

from nnbench.sweep.supervision import signals_as_exceptions, stopped_by


class Dying:
    """An object that is cleared away just when a signal comes; Python drops what is raised there."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self):
        signal.raise_signal(self.number)


@signals_as_exceptions()
def wait_after(act):
    act()
    time.sleep(5)


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_signal_that_comes_while_an_object_is_cleared_away_is_heeded_and_prints_nothing(number, error, capfd):
    with pytest.raises(error):
        wait_after(lambda: Dying(number))

    assert stopped_by() == number
    assert capfd.readouterr().err == ""
    with signals_as_exceptions():
        assert stopped_by() is None  # nor does the next command in this process hear of it
