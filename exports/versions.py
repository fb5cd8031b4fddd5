"""Model versions and the names that move between them: `prod` may be what customers talk to, so each move is noted."""

import re

from django.db import transaction

from labelhub.accounts import audit
from labelhub.accounts.roles import Power
from samples.errors import InvalidValue
from samples.models import Project
from samples.permissions import require

from .models import ModelTag, ModelVersion

NAME = re.compile(r"[A-Za-z0-9\-_.]{1,64}", re.ASCII)


@transaction.atomic
def tag(version: ModelVersion, name: str, *, by) -> ModelTag:
    """Let the tag `name` of the project stand for `version`, whatever it stood for before."""
    require(by, Power.FINETUNE, version.project)
    if not NAME.fullmatch(name):
        raise InvalidValue(f"a tag is 1 to 64 letters, digits, - _ and ., not {name[:80]!r}", field="tag")
    Project.objects.select_for_update().get(pk=version.project_id)  # two who move a tag come one after the other
    found = ModelTag.objects.filter(project=version.project, name=name).select_related("version__project").first()
    if found is not None and found.version_id == version.pk:
        return found
    before = str(found.version) if found else ""
    found = found or ModelTag(project=version.project, name=name)
    found.version = version
    found.save()
    audit.record(found, "tag", by=by, before=before, after=str(version), reason=name)
    return found


@transaction.atomic
def untag(version: ModelVersion, name: str, *, by) -> bool:
    """Take the tag `name` off `version`; False where it does not carry it."""
    require(by, Power.FINETUNE, version.project)
    found = ModelTag.objects.select_for_update().filter(project=version.project, version=version, name=name).first()
    if found is None:
        return False
    audit.record(found, "untag", by=by, before=str(version), reason=name)
    found.delete()
    return True
