"""The collector is set for a server while there is one."""

import gc

from chatbridge.service.garbage import THRESHOLDS, Garbage


def test_it_is_set_at_the_start_and_as_before_at_the_stop():
    before, frozen = gc.get_threshold(), gc.get_freeze_count()
    garbage = Garbage()
    garbage.startService()
    try:
        assert gc.get_threshold() == THRESHOLDS
        assert gc.get_freeze_count() > 1000
    finally:
        garbage.stopService()
    assert gc.get_threshold() == before
    assert gc.get_freeze_count() == frozen == 0
