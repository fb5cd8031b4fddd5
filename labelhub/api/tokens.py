"""JWTs for a user name and a password, and their renewal: a refresh token works once."""

from typing import Any

from axes.handlers.proxy import AxesProxyHandler
from axes.helpers import get_cool_off, get_credentials
from django.contrib.auth import authenticate
from django.db import transaction
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.exceptions import AuthenticationFailed, Throttled
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_simplejwt.exceptions import TokenError
from rest_framework_simplejwt.settings import api_settings
from rest_framework_simplejwt.tokens import RefreshToken
from rest_framework_simplejwt.utils import get_md5_hash_password

from labelhub.accounts.models import User

from .errors import exception_handler


class TokenView(APIView):
    """A door for those who carry no token yet."""

    authentication_classes = ()
    permission_classes = ()

    def get_exception_handler(self):
        return exception_handler()

    def get_authenticate_header(self, request):
        return 'Bearer realm="api"'  # so that a refusal is a 401, not DRF's 403 of a view nobody can log in to


class Credentials(serializers.Serializer):
    username = serializers.CharField(max_length=150)
    password = serializers.CharField(max_length=4096, trim_whitespace=False)


class Pair(serializers.Serializer):
    """What opens for half an hour, and what renews it for a week."""

    status = serializers.ChoiceField(choices=["ok"])
    access = serializers.CharField()
    refresh = serializers.CharField()


class ObtainToken(TokenView):
    """POST /api/auth/token: {"username", "password"} → {"access", "refresh"}; 429 after too many failures."""

    @extend_schema(request=Credentials, responses=Pair)
    def post(self, request):
        """A pair of tokens for a user name and a password; 429 after too many failures."""
        given = Credentials(data=request.data)
        given.is_valid(raise_exception=True)
        user = authenticate(request, **given.validated_data)
        if user is None:
            refuse_if_locked_out(request, given.validated_data["username"])
            raise AuthenticationFailed("No active account has this user name and password.")
        return Response(pair_of(RefreshToken.for_user(user)))


class Renewal(serializers.Serializer):
    refresh = serializers.CharField(max_length=8192)


class RefreshTokenView(TokenView):
    """POST /api/auth/token/refresh: {"refresh"} → a new pair; the old refresh token is void."""

    @extend_schema(request=Renewal, responses=Pair)
    def post(self, request):
        """A new pair for a refresh token, which is void from then on."""
        given = Renewal(data=request.data)
        given.is_valid(raise_exception=True)
        return Response(pair_of(renew(given.validated_data["refresh"])))


def pair_of(refresh: RefreshToken) -> dict[str, str]:
    return {"status": "ok", "access": str(refresh.access_token), "refresh": str(refresh)}


def refuse_if_locked_out(request, username: str) -> None:
    """Throttled where django-axes has had enough of this user name from this address."""
    if not AxesProxyHandler.is_allowed(request, get_credentials(username=username)):
        wait = get_cool_off()
        raise Throttled(wait.total_seconds() if wait else None, "Too many failed log-ins.")


@transaction.atomic
def renew(token: str) -> RefreshToken:
    """The next refresh token after `token`. Of two who come with the same one, the second is refused."""
    try:
        old = RefreshToken(token)  # type: ignore[arg-type]  # its stub wants a Token; it takes the text of one
        user = User.objects.filter(pk=old[api_settings.USER_ID_CLAIM], is_active=True).first()
    except (TokenError, KeyError, ValueError) as error:
        raise AuthenticationFailed("The refresh token is invalid, expired or already used.") from error
    if user is None or old.get(api_settings.REVOKE_TOKEN_CLAIM) != get_md5_hash_password(user.password):
        raise AuthenticationFailed("The refresh token is of an account that is closed or has a new password.")
    row_and_whether_new: Any = old.blacklist()  # annotated as the row alone
    if not row_and_whether_new[1]:
        raise AuthenticationFailed("The refresh token is invalid, expired or already used.")
    return RefreshToken.for_user(user)
