"""People, their access keys, failed log-ins and the audit trail."""

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django.apps import apps
from django.conf import settings
from django.contrib import admin, messages
from django.contrib.auth.admin import GroupAdmin as DjangoGroupAdmin
from django.contrib.auth.admin import UserAdmin as DjangoUserAdmin
from django.contrib.auth.models import Group
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from unfold.contrib.filters.admin import RangeDateTimeFilter
from unfold.decorators import display
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from labelhub.admin import HubAdmin, ReadOnly, ScopedAutocompleteFilter, SuperusersOnly, page, state_badge
from labelhub.long_lists import LongList, key_in

from . import keys
from .models import AccessKey, AuditEntry, User

for model in (Group, OutstandingToken, BlacklistedToken, AccessAttempt, AccessLog, AccessFailureLog):
    if admin.site.is_registered(model):  # by their own apps, with pages that are not Unfold's
        admin.site.unregister(model)


@admin.register(User)
class UserAdmin(SuperusersOnly, HubAdmin, DjangoUserAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "full_name", "email", "is_staff", "is_superuser", "is_active", "last_login"]
    list_filter = ["is_staff", "is_superuser", "is_active"]
    search_fields = ["username", "first_name", "last_name", "email"]
    readonly_fields = ["uid", "last_login", "date_joined"]
    autocomplete_fields = ["groups"]
    filter_horizontal = []
    fieldsets = [
        (None, {"fields": ["username", "password"]}),
        ("Person", {"fields": [("first_name", "last_name"), "email", "uid"]}),
        (
            "What they may do",
            {
                "fields": ["is_active", "is_staff", "is_superuser", "groups"],
                "description": "Staff may open this admin; what they find in it follows from their roles in projects.",
            },
        ),
        ("Dates", {"fields": [("last_login", "date_joined")]}),
    ]
    add_fieldsets = [(None, {"fields": ["username", "usable_password", "password1", "password2", "is_staff"]})]

    def has_delete_permission(self, request, obj=None):
        return False  # their answers and reviews stay theirs: who leaves is made inactive

    @display(description="Name", empty_value="–")
    def full_name(self, user):
        return user.get_full_name() or None


@admin.register(Group)
class GroupAdmin(SuperusersOnly, HubAdmin, DjangoGroupAdmin):  # type: ignore[misc]
    search_fields = ["name"]
    filter_horizontal = []
    fields = ["name"]


@admin.register(AccessKey)
class AccessKeyAdmin(HubAdmin):
    """Everyone sees, makes and revokes their own keys; a superuser everyone's."""

    list_display = ["key_id", "name", "user", "state", "created_at", "last_used_at", "expires_at"]
    list_select_related = ["user"]
    list_filter = [("created_at", RangeDateTimeFilter), ("expires_at", RangeDateTimeFilter)]
    search_fields = ["key_id", "name", "user__username"]
    autocomplete_fields = ["user"]
    actions = ["revoke"]
    shown = ["key_id", "name", "user", "state", "created_at", "last_used_at", "expires_at", "revoked_at"]

    def may(self, request, permission, obj=None):
        return request.user.is_staff and (obj is None or request.user.is_superuser or obj.user_id == request.user.pk)

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False  # revoked, not deleted: the audit trail must still find it

    def has_revoke_permission(self, request, obj=None):
        return self.allows(request, "revoke", obj)

    def get_queryset(self, request):
        own = super().get_queryset(request)
        return own if request.user.is_superuser else own.filter(user=request.user)

    def get_fields(self, request, obj=None):
        if obj:
            return self.shown
        return ["user", "name", "expires_at"] if request.user.is_superuser else ["name", "expires_at"]

    def get_readonly_fields(self, request, obj=None):
        return self.shown if obj else []

    def get_changeform_initial_data(self, request):
        return {"user": request.user.pk, **super().get_changeform_initial_data(request)}

    @display(description="State")
    def state(self, key):
        if key.revoked_at:
            return state_badge("REVOKED", "Revoked")
        return state_badge("ACTIVE", "Active") if key.is_active else state_badge("EXPIRED", "Expired")

    def save_model(self, request, obj, form, change):
        owner = obj.user if request.user.is_superuser else request.user
        key, obj.shown_once = keys.create_key(owner, name=obj.name, by=request.user, expires_at=obj.expires_at)
        obj.__dict__.update(pk=key.pk, id=key.pk, key_id=key.key_id, user_id=key.user_id)

    def response_add(self, request, obj, post_url_continue=None):
        """The one page that shows the secret; it is not kept anywhere it could be shown from again."""
        response = page(
            request,
            "hub/access_key.html",
            title="Access key",
            opts=self.opts,
            key=obj,
            secret=obj.shown_once,
            bearer=f"{obj.key_id}.{obj.shown_once}",
        )
        response["Cache-Control"] = "no-store"
        return response

    @admin.action(description="Revoke", permissions=["revoke"])
    def revoke(self, request, queryset):
        done = sum(keys.revoke_key(key, by=request.user) for key in queryset)
        self.message_user(request, f"Keys revoked: {done}.", messages.SUCCESS if done else messages.WARNING)


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, SuperusersOnly, LongList, HubAdmin):
    list_display = ["at", "who", "action", "subject", "subject_id", "before", "after", "reason"]
    list_display_links = ["at"]
    list_select_related = ["actor"]
    list_filter = [("actor", ScopedAutocompleteFilter), ("at", RangeDateTimeFilter)]
    indexed = ["actor"]
    in_key_order = ["at"]
    search_fields = ["subject", "action"]
    search_help_text = "An id, a kind of row (“sample”, “batch”) or an action (“approve”)."

    def named(self, rows, term):
        number = key_in(term)
        kinds = [model._meta.model_name for model in apps.get_models()]  # the index begins with them
        return None if number is None else rows.filter(subject__in=kinds, subject_id=number)

    @display(description="Who")
    def who(self, entry):
        return entry.actor or "the hub itself"


@admin.register(OutstandingToken)
class OutstandingTokenAdmin(ReadOnly, SuperusersOnly, LongList, HubAdmin):
    """JWTs given out. The token itself stays out of sight: it would open the door."""

    list_display = ["jti", "user", "created_at", "expires_at"]
    list_select_related = ["user"]
    list_filter = [("user", ScopedAutocompleteFilter), ("expires_at", RangeDateTimeFilter)]
    indexed = ["user"]
    search_fields = ["=jti", "user__username"]
    fields = ["jti", "user", "created_at", "expires_at"]


@admin.register(BlacklistedToken)
class BlacklistedTokenAdmin(ReadOnly, SuperusersOnly, HubAdmin):
    list_display = ["jti", "user", "blacklisted_at"]
    list_select_related = ["token__user"]
    list_filter = [("blacklisted_at", RangeDateTimeFilter)]
    search_fields = ["=token__jti", "token__user__username"]
    fields = ["jti", "user", "blacklisted_at"]
    readonly_fields = fields

    @display(description="JTI")
    def jti(self, row):
        return row.token.jti

    @display(description="User")
    def user(self, row):
        return row.token.user


class LogInAdmin(ReadOnly, SuperusersOnly, LongList, HubAdmin):
    list_display = ["attempt_time", "username", "ip_address", "path_info"]
    in_key_order = ["attempt_time"]
    list_filter = [("attempt_time", RangeDateTimeFilter)]
    search_fields = ["username", "=ip_address"]


@admin.register(AccessLog)
class AccessLogAdmin(LogInAdmin):
    fields = ["attempt_time", "logout_time", "username", "ip_address", "user_agent", "path_info"]


@admin.register(AccessFailureLog)
class AccessFailureLogAdmin(LogInAdmin):
    fields = ["attempt_time", "username", "ip_address", "user_agent", "path_info", "locked_out"]


@admin.register(AccessAttempt)
class AccessAttemptAdmin(LogInAdmin):
    """Failed log-ins that still count; deleting one lets its owner try again at once."""

    list_display = ["attempt_time", "username", "ip_address", "failures_since_start", "state"]
    fields = ["attempt_time", "username", "ip_address", "user_agent", "path_info", "failures_since_start"]
    deletes_selected = True

    def has_delete_permission(self, request, obj=None):
        return request.user.is_superuser

    @display(description="State")
    def state(self, attempt):
        is_locked = attempt.failures_since_start >= settings.AXES_FAILURE_LIMIT
        return state_badge("LOCKED", "Locked out") if is_locked else state_badge("COUNTING", "Counting")
