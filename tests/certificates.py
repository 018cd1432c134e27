"""Real certificates for the servers of a test."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from ipaddress import ip_address

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


@dataclass(frozen=True)
class Certificate:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self) -> bytes:
        return self.key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )


@cache
def authority(name: str) -> Certificate:
    """A certificate authority."""
    return _signed(name, None, x509.BasicConstraints(ca=True, path_length=None))


@cache
def server_certificate(host: str, signer: Certificate) -> Certificate:
    """The certificate of a server, whose host is a name or an address."""
    is_address = host.replace(".", "").isdigit()
    name = x509.IPAddress(ip_address(host)) if is_address else x509.DNSName(host)
    return _signed(host, signer, x509.SubjectAlternativeName([name]))


def expired_certificate(address: str, signer: Certificate) -> Certificate:
    """The certificate of a server that was valid until an hour ago."""
    name = x509.SubjectAlternativeName([x509.IPAddress(ip_address(address))])
    return _signed(address, signer, name, valid_for=timedelta(hours=-1))


def _signed(
    name: str,
    signer: Certificate | None,
    extension: x509.ExtensionType,
    valid_for: timedelta = timedelta(days=1),
) -> Certificate:
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + valid_for)
        .add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        .sign(signer.key if signer else key, hashes.SHA256())
    )
    return Certificate(certificate, key)
