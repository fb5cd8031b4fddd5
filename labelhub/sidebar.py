"""What the sidebar and the account menu offer: only what the visitor may see."""

from django.urls import reverse

from labelhub.accounts.roles import Power
from samples.admin.scoped import powers_of


def entry(title: str, icon: str, name: str) -> dict:
    return {"title": title, "icon": icon, "link": reverse(name)}


def model(title: str, icon: str, name: str) -> dict:
    return entry(title, icon, f"admin:{name}_changelist")


def navigation(request) -> list[dict]:
    """The groups of the sidebar, in the order of the flow."""
    powers = powers_of(request)
    groups = [
        ("", [entry("Dashboard", "space_dashboard", "admin:index")]),
        ("Work", work(powers)),
        ("Data", data(powers)),
        ("Exports", exports(powers)),
        ("Behind the scenes", behind(request.user)),
    ]
    return [{"title": title, "items": items, "separator": bool(title)} for title, items in groups if items]


def work(powers):
    items = [
        (Power.IMPORT, entry("Import", "upload_file", "import_choose")),
        (Power.ANNOTATE, entry("Annotate", "edit_note", "annotate_choose")),
        (Power.REVIEW, entry("Review", "rate_review", "review_choose")),
        (Power.REVIEW, model("Label errors", "troubleshoot", "samples_doubt")),
    ]
    return [item for power, item in items if power in powers]


def data(powers):
    items = [model("Projects", "folder_open", "samples_project")]
    if Power.VIEW in powers:
        items += [
            model("Tasks", "task", "samples_task"),
            model("Annotations", "how_to_vote", "samples_annotation"),
            model("Samples", "verified", "samples_sample"),
            model("Sources", "input", "samples_source"),
            model("Datasets", "dataset", "samples_dataset"),
        ]
    return items


def exports(powers):
    items = [
        (Power.EXPORT, model("Batches", "inventory_2", "exports_batch")),
        (Power.EXPORT, model("Kept splits", "call_split", "exports_keptsplit")),
        (Power.FINETUNE, model("Fine-tunes", "model_training", "exports_finetune")),
        (Power.MANAGE, model("Provider accounts", "vpn_key", "exports_provideraccount")),
        (Power.VIEW, model("Models", "deployed_code", "exports_modelversion")),
        (Power.VIEW, model("Model tags", "sell", "exports_modeltag")),
        (Power.FINETUNE, model("Prediction runs", "batch_prediction", "exports_predictionrun")),
        (Power.VIEW, model("Predictions", "online_prediction", "samples_prediction")),
    ]
    return [item for power, item in items if power in powers]


def behind(user):
    items = [
        model("Jobs", "schedule", "jobs_job"),
        model("Access keys", "key", "accounts_accesskey"),
        entry("Roles", "admin_panel_settings", "roles"),
    ]
    if user.is_superuser:
        items += [
            model("Users", "group", "accounts_user"),
            model("Failed log-ins", "lock", "axes_accessattempt"),
            model("Audit trail", "history", "accounts_auditentry"),
        ]
    return items


def account_links(request) -> list[dict]:
    return [{"title": "Access keys", "link": reverse("admin:accounts_accesskey_changelist")}]
