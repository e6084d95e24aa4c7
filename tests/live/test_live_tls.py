"""The upstream client over TLS: certificates are checked, names too, and connections are kept."""

from datetime import UTC, datetime, timedelta

import pytest
import pytest_twisted
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from test_live_client import ANSWER, BODY, Script
from treq.client import HTTPClient
from twisted.internet.ssl import PrivateCertificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.web.client import BrowserLikePolicyForHTTPS

from chatbridge.upstream.agent import LeanAgent, Pool
from chatbridge.upstream.body import collect
from chatbridge.upstream.endpoint import Endpoints
from chatbridge.upstream.fault import connection_error
from chatbridge.upstream.payload import Whole


def certificate():
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    secret = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return PrivateCertificate.loadPEM(made.public_bytes(pem) + secret)


class Upstream:
    def __init__(self, *script, trusted):
        from twisted.internet import reactor

        own = certificate()
        self.factory = Script(*script)
        self.port = reactor.listenSSL(0, self.factory, own.options(), interface="127.0.0.1")
        policy = BrowserLikePolicyForHTTPS(trustRootFromCertificates([own if trusted else certificate()]))
        self.pool = Pool(reactor)
        self.treq = HTTPClient(LeanAgent(Endpoints(reactor, 5.0, policy), self.pool), data_to_body_producer=Whole)

    def url(self, host="localhost"):
        return f"https://{host}:{self.port.getHost().port}/"

    async def ask(self, host="localhost"):
        response = await self.treq.post(self.url(host), data=BODY, unbuffered=True)
        return response.code, await collect(response, 1000)

    async def stop(self):
        await self.pool.close()
        await self.port.stopListening()


@pytest_twisted.ensureDeferred
async def test_requests_over_tls_share_a_connection():
    upstream = Upstream(ANSWER, ANSWER, trusted=True)
    assert await upstream.ask() == (200, b"{}")
    assert await upstream.ask() == (200, b"{}")
    await upstream.stop()
    assert len(upstream.factory.connections) == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("host", "trusted"), [("localhost", False), ("127.0.0.1", True)])
async def test_a_certificate_of_somebody_else_is_refused(host, trusted):
    upstream = Upstream(ANSWER, trusted=trusted)
    url = upstream.url(host)
    with pytest.raises(Exception) as caught:
        await upstream.ask(host)
    await upstream.stop()
    assert connection_error(Failure(caught.value), url).code == "upstream_tls_error"
    assert not upstream.factory.requests
