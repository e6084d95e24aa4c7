import array

import pytest

from chatbridge.web.ledger import ANSWERS, CLIENTS, Ledger, size


def shared(count, *names):
    memory = memoryview(array.array("d", bytes(8 * size(count, CLIENTS + len(names)))))
    clients = {name: CLIENTS + at for at, name in enumerate(names)}
    return [Ledger(memory, processes=count, number=number, clients=clients) for number in range(count)]


def test_each_process_counts_and_all_see_the_sum():
    one, two = shared(2, "ann")
    ann = one.client("ann")
    assert [one.enter(ann), two.enter(ann), two.enter(ANSWERS)] == [True] * 3
    assert one.total(ann) == two.total(ann) == 2
    assert one.total(ANSWERS) == 1
    two.leave(ann)
    assert one.total(ann) == 1


def test_a_limit_is_of_all_together():
    one, two = shared(2, "ann")
    ann = one.client("ann")
    assert [one.enter(ann, 2), two.enter(ann, 2), one.enter(ann, 2), two.enter(ann, 2)] == [True, True, False, False]
    assert one.total(ann) == 2
    one.leave(ann)
    assert two.enter(ann, 2)


def test_what_a_killed_process_counted_is_cleared_and_nothing_else():
    one, two, three = shared(3, "ann", "bob")
    ann, bob = one.client("ann"), one.client("bob")
    for ledger in (one, two, three):
        ledger.enter(ann)
        ledger.enter(bob)
    assert two.spend(ann, 1, 60, 1000.0) == 0
    one.clear(1)
    assert (one.total(ann), one.total(bob)) == (2, 2)
    assert one.spend(ann, 1, 60, 1000.0) == pytest.approx(60)


def test_a_minute_is_of_all_together():
    one, two = shared(2, "ann")
    ann = one.client("ann")
    now = 1_800_000_000.0
    assert [one.spend(ann, 3, 60, now), two.spend(ann, 3, 60, now), one.spend(ann, 3, 60, now)] == [0, 0, 0]
    assert two.spend(ann, 3, 60, now) == pytest.approx(20)
    assert two.spend(ann, 3, 60, now + 20) == 0
    assert one.spend(ann, 3, 60, now + 20) == pytest.approx(20)


def test_one_process_takes_new_clients():
    ledger = Ledger()
    ann = ledger.client("ann")
    ledger.enter(ann)
    bob = ledger.client("bob")
    ledger.enter(bob)
    ledger.enter(ANSWERS)
    assert (ledger.client("ann"), ledger.total(ann), ledger.total(bob), ledger.total(ANSWERS)) == (ann, 1, 1, 1)
    assert ledger.spend(bob, 1, 60, 5.0) == 0
    assert ledger.spend(ann, 1, 60, 5.0) == 0


def test_shared_memory_takes_no_new_clients():
    (one,) = shared(1, "ann")
    with pytest.raises(KeyError):
        one.client("bob")
