"""Accounts at providers. A key goes in and never comes out again."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from unfold.decorators import display
from unfold.widgets import UnfoldAdminPasswordWidget

from exports import provider_accounts
from exports.errors import UnsafeAddress, Unsuitable
from exports.models import ProviderAccount
from exports.providers.reaching import check_address
from labelhub.admin import ScopedAutocompleteFilter, sentence, state_badge

from .scoped import ScopedAdmin


class AccountForm(forms.ModelForm):
    key = forms.CharField(
        strip=True,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text="Kept encrypted; it is not shown again.",
    )

    class Meta:
        model = ProviderAccount
        fields = ["name", "provider", "project", "base_url", "model"]

    def __init__(self, *arguments, **more):
        super().__init__(*arguments, **more)
        if self.instance.pk:
            self.fields["key"].required = False
            self.fields["key"].help_text = "Leave it empty to keep the one there is."

    def clean_base_url(self):
        given = self.cleaned_data["base_url"].strip()
        if given:
            try:
                check_address(given)
            except UnsafeAddress as fact:
                raise ValidationError(sentence(fact)) from fact
        return given

    def clean(self):
        cleaned = super().clean()
        moved = self.instance.pk and cleaned.get("base_url", "").rstrip("/") != self.initial["base_url"]
        if moved and not cleaned.get("key") and "base_url" not in self.errors:
            raise ValidationError({"key": "Give the key again together with another address."})
        if moved:
            try:
                provider_accounts.check_nothing_is_there(self.instance)
            except Unsuitable as fact:
                raise ValidationError({"base_url": sentence(fact)}) from fact
        return cleaned


@admin.register(ProviderAccount)
class ProviderAccountAdmin(ScopedAdmin):
    form = AccountForm
    list_display = ["name", "provider", "for_whom", "base_url", "state", "created_by", "created_at"]
    list_select_related = ["project", "created_by"]
    list_filter = [("project", ScopedAutocompleteFilter)]
    search_fields = ["name", "provider", "project__name"]
    autocomplete_fields = ["project"]
    actions = ["close"]
    fields = ["name", "provider", "project", "base_url", "model", "key", "state"]
    readonly_fields = ["state"]

    def get_readonly_fields(self, request, obj=None):
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "name", "provider"] if obj else fields

    def get_form(self, request, obj=None, change=False, **kwargs):
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj is None and not request.user.is_superuser:
            form.base_fields["project"].required = True  # an account of every project is a superuser's
        return form

    def has_change_permission(self, request, obj=None):
        return super().has_change_permission(request, obj) and (obj is None or self.is_open(obj))

    def is_open(self, obj):
        return not isinstance(obj, ProviderAccount) or obj.is_active

    def has_delete_permission(self, request, obj=None):
        return False  # closed, not deleted: fine-tunes name it

    def has_close_permission(self, request, obj=None):
        return self.allows(request, "change", obj)

    @display(description="For", ordering="project")
    def for_whom(self, account):
        return account.project or "Every project"

    @display(description="State")
    def state(self, account):
        if account.pk is None:
            return "New"
        return state_badge("ACTIVE", "Active") if account.is_active else state_badge("CLOSED", "Closed")

    def save_model(self, request, obj, form, change):
        given: dict[str, Any] = {name: form.cleaned_data[name] for name in ("base_url", "model", "key")}
        if change:
            provider_accounts.change_account(obj, by=request.user, **given)
            return
        made = provider_accounts.create_account(
            name=obj.name, provider=obj.provider, project=obj.project, by=request.user, **given
        )
        obj.pk = made.pk

    @admin.action(description="Close", permissions=["close"])
    def close(self, request, queryset):
        done = sum(provider_accounts.close_account(account, by=request.user) for account in queryset)
        self.message_user(request, f"Accounts closed: {done}.", messages.SUCCESS if done else messages.WARNING)
