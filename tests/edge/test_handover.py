from dataclasses import fields

from chatbridge.service.handover import Handover
from chatbridge.service.options import Options
from chatbridge.service.secret import Secret
from chatbridge.service.settings import Settings

KEY = "sk-0123456789abcdefgh"
CONFIG = """
store = "none"
workers = 2
[upstreams.deepseek]
upstream = "deepseek"
api_key_env = "K"
headers = {X-Team = "red"}
[upstreams.local]
practice = true
[[routes]]
model = "llama*"
upstream = "local"
"""


def told(value):
    """Return what there is in a value, without what only says which object it is."""
    if isinstance(value, Secret):
        return ("secret", value.reveal())
    if hasattr(value, "__dataclass_fields__"):
        return {item.name: told(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, tuple | list):
        return [told(item) for item in value]
    return value


def test_a_worker_gets_what_the_master_has(tmp_path):
    (tmp_path / "c.toml").write_text(CONFIG)
    options = Options()
    options.parseOptions(["--practice"])
    options._line = {"config": str(tmp_path / "c.toml")}
    settings = options.settings({"K": KEY})
    assert [one.name for one in settings.upstreams] == ["deepseek", "local"]
    sent = Handover(settings=settings, number=3, processes=8, clients={"ann": 2}, relay=True)
    got = Handover.unpacked(sent.packed())
    assert told(got) == told(sent)
    assert got.settings.upstreams[0].api_key.reveal() == KEY


def test_the_defaults():
    sent = Handover(settings=Settings(), number=0, processes=1, clients={})
    assert told(Handover.unpacked(sent.packed())) == told(sent)
