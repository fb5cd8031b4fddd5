"""`manage.py create_access_key USER`: a key for a program, printed as one JSON object."""

import json
from datetime import timedelta

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from labelhub.accounts.keys import bearer_of, create_key
from labelhub.accounts.models import AccessKey, User


class Command(BaseCommand):
    help = "Make an access key of USER and print it as JSON, the only time its secret is shown."

    def add_arguments(self, parser):
        parser.add_argument("user", help="user name")
        parser.add_argument("--name", default="", help="what the key is for")
        parser.add_argument("--days", type=int, help="how long it opens; for ever, if not given")

    def handle(self, *, user, name, days, **options):
        if days is not None and not 1 <= days <= 36500:
            raise CommandError(f"--days is {days}; it must be from 1 to 36500")
        try:
            owner = User.objects.get(username=user)
        except User.DoesNotExist:
            raise CommandError(f"there is no user {user!r}") from None
        if not owner.is_active:
            raise CommandError(f"the user {user!r} is not active: the key would not open anything")
        longest = AccessKey._meta.get_field("name").max_length
        if len(name) > longest:
            raise CommandError(f"--name has {len(name)} characters; {longest} are allowed")
        expires_at = timezone.now() + timedelta(days=days) if days else None
        key, secret = create_key(owner, name=name, expires_at=expires_at)
        self.stdout.write(
            json.dumps({"access_key": key.key_id, "secret_key": secret, "bearer": bearer_of(key, secret)})
        )
