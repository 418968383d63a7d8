"""TLS of the data plane: certificates that a cluster makes for itself, and the contexts of both ends of a connection.

The keys never leave the process that made them: it sends a request for a certificate, and gets that.
"""

from __future__ import annotations

import datetime
import functools
import ipaddress
import ssl
import tempfile
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.x509 import Certificate, CertificateSigningRequest, GeneralName, Name

FIRST_DAY = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
LAST_DAY = datetime.datetime(9999, 12, 31, tzinfo=datetime.UTC)
"""When certificates are valid: as long as their cluster lives, whatever the clocks of its machines show."""


class Certified(msgspec.Struct, frozen=True):
    """A certificate, and that of the authority which signed it, both as PEM."""

    certificate: str
    authority: str


class Identity(msgspec.Struct, frozen=True):
    """What a server shows to its clients: a certificate and its key, and the authority that they trust; all PEM."""

    certificate: str
    key: str
    authority: str

    def __repr__(self) -> str:
        return "Identity()"


class Authority(msgspec.Struct, frozen=True):
    """What signs the certificates of a cluster: its own certificate and its key, as PEM."""

    certificate: str
    key: str

    def __repr__(self) -> str:
        return "Authority()"


class KeyPair(msgspec.Struct, frozen=True):
    """A new key, and the request to certify it, as PEM."""

    key: str
    request: str

    def __repr__(self) -> str:
        return "KeyPair()"


def new_authority() -> Authority:
    """Return a new authority, which nothing but the processes of one cluster will trust."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("byzer-magic cluster")
    uses = dict.fromkeys(
        ("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), FIRST_DAY, LAST_DAY)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **uses), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(_pem(certificate), _pem_of_key(key))


def key_pair(host: str) -> KeyPair:
    """Return a new key, and the request to certify it for an address.

    Args:
        host: the address or name that clients connect to.
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    request = (
        x509.CertificateSigningRequestBuilder(_name("byzer-magic"))
        .add_extension(x509.SubjectAlternativeName([_general_name(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return KeyPair(_pem_of_key(key), _pem(request))


def certify(authority: Authority, request: str) -> Certified:
    """Return the certificate that a request asks for.

    Args:
        authority: signs it.
        request: as PEM.

    Raises:
        ValueError: the request is damaged, or names no host.

    Example:
        >>> authority = new_authority()
        >>> certify(authority, key_pair("10.0.0.7").request).authority == authority.certificate
        True
    """
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID

    asked = x509.load_pem_x509_csr(request.encode())
    own = x509.load_pem_x509_certificate(authority.certificate.encode())
    key = serialization.load_pem_private_key(authority.key.encode(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)  # noqa: S101 - `new_authority` has made it
    if not asked.is_signature_valid:
        raise ValueError("the request is not signed by its key")
    public = asked.public_key()
    try:
        hosts = asked.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound as err:
        raise ValueError("the request names no host") from err
    certificate = (
        x509.CertificateBuilder(own.subject, asked.subject, public, x509.random_serial_number(), FIRST_DAY, LAST_DAY)
        .add_extension(hosts, critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return Certified(_pem(certificate), authority.certificate)


async def self_certified(host: str) -> Identity:
    """Return the identity of a server that belongs to no cluster: its authority certifies it alone.

    Args:
        host: where it listens.
    """
    pair, authority = key_pair(host), new_authority()
    return Identity(certify(authority, pair.request).certificate, pair.key, authority.certificate)


def of_server(identity: Identity) -> ssl.SSLContext:
    """Return the context of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    with tempfile.NamedTemporaryFile() as file:  # OpenSSL reads files only: mode 0600, and gone at once
        file.write(f"{identity.key}\n{identity.certificate}".encode())
        file.flush()
        context.load_cert_chain(file.name)
    return context


@functools.lru_cache(maxsize=16)
def of_client(authority: str) -> ssl.SSLContext:
    """Return the context of a client, which trusts one authority and no other.

    Args:
        authority: its certificate, as PEM.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    return context


def _name(text: str) -> Name:
    from cryptography import x509
    from cryptography.x509.oid import NameOID

    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _general_name(host: str) -> GeneralName:
    from cryptography import x509

    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _pem(made: Certificate | CertificateSigningRequest) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return made.public_bytes(Encoding.PEM).decode()


def _pem_of_key(key: EllipticCurvePrivateKey) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
