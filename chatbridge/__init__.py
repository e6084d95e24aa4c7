"""A Twisted daemon that serves the Responses API on top of any chat/completions upstream."""

__version__ = "0.1.0"
