"""GET /v1/models and /v1/models/{id}."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from urllib.parse import unquote_to_bytes

from twisted.internet.defer import DeferredList
from twisted.web.server import NOT_DONE_YET, Request

from chatbridge.protocol.errors import ApiError, Kind
from chatbridge.protocol.models import Model, model_list, model_object
from chatbridge.web.bridge import Bridge
from chatbridge.web.bridges import Bridges
from chatbridge.web.resource import JsonResource, write_error, write_json


class Models(JsonResource):
    """The models of all upstreams, the default one's first; below an upstream's own path only its own."""

    def __init__(self, bridges: Bridges) -> None:
        super().__init__()
        self._bridges = bridges

    def render_GET(self, request: Request) -> int:
        offered = self._bridges.offered(request)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)
        lists = DeferredList([bridge.catalogue.models() for bridge in offered])
        lists.addCallback(lambda found: None if gone else self._answer(request, offered, [it for _, it in found]))
        return NOT_DONE_YET

    def _answer(self, request: Request, offered: Sequence[Bridge], lists: Sequence[list[Model]]) -> None:
        models: dict[str, Model] = {}
        for bridge, listed in zip(offered, lists, strict=True):
            for model in bridge.described(listed):
                models.setdefault(model.id, model)
        for alias, name in self._bridges.aliases(request):
            models.setdefault(alias, replace(models.get(name) or Model(id=name), id=alias))
        name = _name(request)
        if not name:
            write_json(request, 200, model_list(models.values()))
        elif name in models:
            write_json(request, 200, model_object(models[name]))
        else:
            text = f"The model {name[:200]!r} is not in the upstream's list."
            write_error(request, ApiError(404, text, param="model", code="model_not_found", kind=Kind.NOT_FOUND))


def _name(request: Request) -> str:
    """Return the model's name in the path, which may hold slashes; empty for the list."""
    path: bytes = request.path
    return unquote_to_bytes(path.partition(b"/models/")[2]).decode("utf-8", "replace")
