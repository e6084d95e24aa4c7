from hypothesis import given, settings
from hypothesis import strategies as st

from chatbridge.store import events
from chatbridge.store.events import EventLog

FRAMES = st.lists(st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"") + b"x\n\n"), max_size=60)


def read_all(log, place=0):
    found = []
    while data := log.read(place):
        found.append(data)
        place += len(data)
    return b"".join(found)


@settings(max_examples=200)
@given(FRAMES, st.integers(1, 200), st.data())
def test_what_was_appended_is_read_from_any_event_on(frames, block, data):
    before, events.BLOCK = events.BLOCK, block
    try:
        log, at = EventLog(), 0
        while at < len(frames):
            count = data.draw(st.integers(1, 7))
            log.append(b"".join(frames[at : at + count]))
            at += count
    finally:
        events.BLOCK = before
    more = data.draw(FRAMES)
    loaded = EventLog.load(log.dump(b"".join(more)))
    for found, said in ((log, frames), (loaded, frames + more)):
        assert len(found) == len(b"".join(said))
        for after in range(-1, len(said) + 1):
            assert read_all(found, found.seek(after)) == b"".join(said[after + 1 :])


def test_deltas_take_little():
    log = EventLog()
    for number in range(5000):
        frame = b'event: response.output_text.delta\ndata: {"delta":" word %d","sequence_number":%d}\n\n'
        log.append(frame % (number * 7919 % 1000, number))
    assert len(log.dump()) < len(log) / 8
    assert read_all(EventLog.load(log.dump())) == read_all(log)


def test_nothing():
    assert EventLog().dump() == b""
    assert EventLog.load(b"").read(0) == b""
