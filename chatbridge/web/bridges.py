"""All bridges, one for each upstream, and which one a request goes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.web.server import Request

from chatbridge.service.routes import Route, Routes
from chatbridge.web.bridge import Bridge
from chatbridge.web.guard import host_name


class Bridges:
    """*bridges* by the names that *routes* speaks of."""

    def __init__(self, bridges: Mapping[str, Bridge], routes: Routes) -> None:
        self._bridges = bridges
        self._routes = routes
        self._by_host = any(route.host for route in routes.routes)
        self.default = bridges[routes.default]
        for bridge in bridges.values():
            bridge.others = bridges

    def find(self, request: Request, model: Any) -> tuple[Bridge, Route]:
        """Return where *request* goes, which asks for *model*."""
        route = self._routes.find(
            model=model if isinstance(model, str) else "",
            path=getattr(request, "prefix", ""),
            host=host_name(request.getHeader("host") or "") or "" if self._by_host else "",
        )
        return self._bridges[route.upstream], route

    def circuits(self) -> dict[str, str]:
        """Return the state of each upstream's circuit, by the upstream's name."""
        return {name: bridge.upstream.breaker.state for name, bridge in self._bridges.items()}

    def resting(self) -> str:
        """Return why no upstream can be asked; empty when one can."""
        states = self.circuits()
        return "" if any(state != "open" for state in states.values()) else "every upstream's circuit is open"

    def offered(self, request: Request) -> list[Bridge]:
        """Return the bridges whose models a client at this path may ask for, the likeliest first."""
        path = getattr(request, "prefix", "")
        first, _ = self.find(request, None)
        return [first] if path else [first, *(bridge for bridge in self._bridges.values() if bridge is not first)]

    def aliases(self, request: Request) -> list[tuple[str, str]]:
        """Return the names that routes give to models at this path, with the models' own."""
        path = getattr(request, "prefix", "")
        routes = [route for route in self._routes.routes if route.path == path and route.send_model]
        return [
            (route.model, route.send_model) for route in routes if route.model and not set(route.model) & set("*?[")
        ]


def without_dropped(value: Any, route: Route) -> Any:
    """Return a request's decoded body without what *route* drops."""
    if not isinstance(value, dict) or not (route.drop_fields or route.drop_tools):
        return value
    kept = {key: item for key, item in value.items() if key not in route.drop_fields}
    tools = kept.get("tools")
    if isinstance(tools, list):
        kept["tools"] = [
            tool for tool in tools if not (isinstance(tool, dict) and tool.get("type") in route.drop_tools)
        ]
    return kept
