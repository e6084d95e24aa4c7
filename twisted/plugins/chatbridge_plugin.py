"""Makes ``twistd chatbridge`` known; every twistd on the system imports this, so it imports nothing else."""

from twisted.application.service import ServiceMaker

chatbridge = ServiceMaker(
    "chatbridge", "chatbridge.service.tap", "Responses API on a chat/completions upstream.", "chatbridge"
)
