"""Secrets at rest: Fernet under the installation's SECRETS_KEY. https://cryptography.io/en/latest/fernet/"""

import base64
import hashlib

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings

__all__ = ["InvalidToken", "decrypt", "encrypt"]


def _fernet():
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(settings.SECRETS_KEY.encode()).digest()))


def encrypt(text: str) -> str:
    """`text` as a Fernet token."""
    return _fernet().encrypt(text.encode()).decode()


def decrypt(token: str) -> str:
    """The text behind a Fernet token; InvalidToken where SECRETS_KEY is not the one that made it."""
    return _fernet().decrypt(token.encode()).decode()
