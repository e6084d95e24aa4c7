from __future__ import annotations

from chatbridge.vendors.learned import Learned
from chatbridge.vendors.profile import Profile, profile_named


def test_what_was_learned_holds_for_one_model():
    learned = Learned(Profile(models=(("big*", {"max_tools": 5}),)))
    assert learned.learn("big-1", {"strict": "never"}) == {"strict": "never"}
    assert learned.learn("big-1", {"images": "none"}) == {"strict": "never", "images": "none"}
    found = learned.profile("big-1")
    assert (found.max_tools, found.strict, found.images) == (5, "never", "none")
    assert (learned.profile("big-2").max_tools, learned.profile("big-2").strict) == (5, "true")
    assert learned.profile("small").max_tools == 0


def test_the_profile_itself_stays_as_it_was():
    learned = Learned(profile_named("groq"))
    learned.learn("m", {"stream_options": False})
    assert Learned(profile_named("groq")).profile("m").stream_options


def test_there_is_an_end_to_remembering():
    learned = Learned(Profile())
    for number in range(Learned.LIMIT + 5):
        learned.learn(f"m{number}", {"strict": "never"})
    assert learned.profile(f"m{Learned.LIMIT - 1}").strict == "never"
    assert learned.profile(f"m{Learned.LIMIT}").strict == "true"
    learned.learn("m0", {"images": "none"})
    assert learned.profile("m0").images == "none"
