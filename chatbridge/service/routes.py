"""Which upstream a request goes to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache


@dataclass(frozen=True, slots=True)
class Step:
    """Where a request goes next: to another upstream, to another model, or both. What is empty stays as it was."""

    upstream: str = ""
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Requests that match all of *model* (a glob), *path* and *host* go to *upstream*.

    *path* is the first part of the request's path, as ``team`` in ``/team/v1/responses``; *host* is a glob for the Host
    header without port. An empty one matches everything.
    """

    upstream: str
    model: str = ""
    path: str = ""
    host: str = ""
    send_model: str = ""
    """The model's name upstream, when it is another."""
    drop_tools: tuple[str, ...] = ()
    """Kinds of tools that are taken out of requests."""
    drop_fields: tuple[str, ...] = ()
    """Fields that are taken out of requests."""
    forward_header: tuple[str, ...] = ()
    """Headers of the client that go upstream besides those of the upstream, in lower case."""
    fallback: tuple[Step, ...] = ()
    """Whom to ask when the upstream cannot answer, in order."""

    def matches(self, model: str, path: str, host: str) -> bool:
        """Whether a request with these goes here."""
        return (
            (not self.model or fnmatchcase(model.lower(), self.model.lower()))
            and (not self.path or self.path == path)
            and (not self.host or fnmatchcase(host.lower(), self.host.lower()))
        )


@dataclass(frozen=True, slots=True)
class Routes:
    """The routes in their order; the first that matches counts. *default* is the upstream of what matches none."""

    routes: Sequence[Route]
    default: str
    names: frozenset[str]
    """The upstreams. Each is a path of its own: ``/NAME/v1/responses``."""

    @property
    def paths(self) -> frozenset[str]:
        """What may stand before ``/v1``."""
        return self.names | {route.path for route in self.routes if route.path}

    def find(self, *, model: str, path: str = "", host: str = "") -> Route:
        """Return the route of a request; what it does not say is empty.

        Who asks at the path of an upstream means that one, unless a route names the path too.
        """
        for route in self.routes:
            if route.matches(model, path, host) and (route.path or not path):
                return route
        return _plain(path if path in self.names else self.default)


@lru_cache(256)
def _plain(upstream: str) -> Route:
    return Route(upstream=upstream)
