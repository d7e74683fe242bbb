"""Who a certificate of sigstore was given to: the one name in it, and the issuer that vouched for
that name (Fulcio's object identifiers, 1.3.6.1.4.1.57264.1).
"""

from typing import TYPE_CHECKING, Final

from outlast.core.errors import MalformedError
from outlast.features.trust.keys.identities import MOST_IDENTITY, SigstoreIdentity

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

_ISSUER: Final = "1.3.6.1.4.1.57264.1.8"
"""The issuer as a DER string."""
_OLD_ISSUER: Final = "1.3.6.1.4.1.57264.1.1"
"""The same as bare text, which older certificates have alone."""
_USER_NAME: Final = "1.3.6.1.4.1.57264.1.7"
"""A name that is neither a mail address nor a URI."""
_UTF8_STRING: Final = 0x0C
_LONG_FORM: Final = 0x80


def identity_of(certificate: "Certificate") -> SigstoreIdentity:
    """The identity in a certificate that was verified. Raises :class:`MalformedError` where it has
    no name or no issuer, or more than one: a tool could take another one of them.
    """
    names, issuers = _names(certificate), _issuers(certificate)
    if len(names) != 1:
        raise MalformedError(f"its certificate has {len(names)} names of signers")
    if len(set(issuers)) != 1:
        raise MalformedError(f"its certificate has {len(set(issuers))} issuers of the name")
    for text in (names[0], issuers[0]):
        if not text.isprintable() or not 1 <= len(text) <= MOST_IDENTITY:
            raise MalformedError("the name in its certificate is no short text")
    return SigstoreIdentity(names[0], issuers[0])


def _names(certificate: "Certificate") -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - an extra

    found = []
    for extension in certificate.extensions:
        if not isinstance(extension.value, x509.SubjectAlternativeName):
            continue
        for name in extension.value:
            if isinstance(name, x509.RFC822Name | x509.UniformResourceIdentifier):
                found.append(name.value)
            elif isinstance(name, x509.OtherName) and name.type_id.dotted_string == _USER_NAME:
                found.append(_utf8_string(name.value))
            else:
                raise MalformedError("its certificate has a name of another kind")
    return found


def _issuers(certificate: "Certificate") -> list[str]:
    from cryptography import x509  # noqa: PLC0415 - an extra

    found = []
    for extension in certificate.extensions:
        if not isinstance(extension.value, x509.UnrecognizedExtension):
            continue
        if extension.oid.dotted_string == _ISSUER:
            found.append(_utf8_string(extension.value.value))
        elif extension.oid.dotted_string == _OLD_ISSUER:
            found.append(_text(extension.value.value))
    return found


def _utf8_string(der: bytes) -> str:
    """A DER value of ASN.1's type UTF8String, of at most 255 bytes by the long form or 127 by the
    short one: that is what identities have.
    """
    if len(der) >= 2 and der[0] == _UTF8_STRING:
        if der[1] < _LONG_FORM and len(der) == 2 + der[1]:
            return _text(der[2:])
        head = bytes((_UTF8_STRING, _LONG_FORM | 1))
        if der[:2] == head and len(der) >= 3 and der[2] >= _LONG_FORM and len(der) == 3 + der[2]:
            return _text(der[3:])
    raise MalformedError("a name in its certificate is not encoded as it has to be")


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise MalformedError("a name in its certificate is not UTF-8") from None
