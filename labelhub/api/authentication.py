"""Who may enter the API: the bearer of a JWT or of an access key, or whoever is logged in with a browser."""

from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import AuthenticationFailed
from rest_framework_simplejwt.authentication import JWTAuthentication

from labelhub.accounts import keys

__all__ = ["BearerAuthentication", "SessionAuthentication"]


class BearerAuthentication(JWTAuthentication):
    """`Authorization: Bearer …` with a JWT (three parts) or an access key (`<id>.<secret>`, two)."""

    def authenticate(self, request):
        scheme, _, token = request.META.get("HTTP_AUTHORIZATION", "").strip().partition(" ")
        if scheme.lower() != "bearer":
            return None
        token = token.strip()
        if token.count(".") != 1:
            validated = self.get_validated_token(token.encode())
            return self.get_user(validated), validated
        key = keys.key_of_bearer(token)
        if key is None:
            raise AuthenticationFailed("The access key is unknown, revoked or expired.", "invalid_key")
        return key.user, key
