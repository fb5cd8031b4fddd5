"""dataset/create, info, statusList, export, exportRecord, delete, and the actions of V2."""

import io
import json
import zipfile
from datetime import datetime

import pytest
import requests
from django.core.files.storage import storages
from django.db import connection
from django.test.utils import CaptureQueriesContext

from exports import batching
from exports.models import Batch
from labelhub.accounts.models import AuditEntry
from labelhub.accounts.roles import Role
from samples.models import Dataset, Membership, Project, Sample, Source, Task
from tests.factories import make_member, make_project, make_settled_task, make_source, make_staff, make_task, make_user

from .conftest import Speaker, work_off

CREATE = {
    "name": "中文医疗对话",
    "versionId": 1,
    "projectType": 20,
    "templateType": 2000,
    "dataType": 4,
    "storageType": "sysBos",
}
EXPORT = {"exportFormat": 0, "exportTo": 0, "exportType": 1}


def info(speaker, dataset_id):
    return speaker.post("dataset/info", {"datasetId": dataset_id})["versionInfo"]


def records(speaker, dataset_id):
    return speaker.post("dataset/exportRecord", {"datasetId": dataset_id})


def answered(task, text):
    Task.objects.filter(pk=task.pk).update(
        status="COMPLETED", answer={"text": text}, label_name=text, validated_at=task.created_at, confidence=1.0
    )


def lines_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert [name for name in archive.namelist() if name.endswith(".jsonl")] == ["data.jsonl"]
        return [json.loads(line) for line in archive.read("data.jsonl").splitlines()]


def fetched(speaker, url):
    answer = speaker.client.get(url)
    assert answer.status_code == 200
    return b"".join(answer.streaming_content)


# Create and delete ----------------------------------------------------------------------------------------------------


@pytest.fixture
def founder(db):
    return Speaker(make_staff("founder"))


def test_a_dataset_is_a_project_of_its_maker_s_own(founder):
    made = founder.post("dataset/create", CREATE)
    assert list(made) == [
        "id", "groupId", "groupPK", "datasetId", "versionId", "groupName", "displayName", "createFrom", "bmlDatasetId",
        "userId", "dataType", "projectType", "templateType", "remark", "storageInfo", "importStatus", "importProgress",
        "exportStatus", "releaseStatus", "status", "isUnique", "errCode", "createTime", "modifyTime",
    ]  # fmt: skip
    row = Dataset.objects.get()
    assert made["datasetId"] == f"ds-{row.uid}" and len(made["datasetId"]) == 19
    assert (made["id"], made["versionId"], made["groupName"]) == (row.pk, 1, "中文医疗对话")
    assert (made["importStatus"], made["exportStatus"], made["releaseStatus"]) == (-1, -1, 0)
    assert made["storageInfo"]["storageId"] == ""
    assert (row.project.task_type, row.project.validations_needed) == ("TEXT_GENERATION", 1)
    assert Membership.objects.get().user == founder.user and Membership.objects.get().role == Role.MANAGER
    datetime.strptime(made["createTime"], "%Y-%m-%d %H:%M:%S")
    told = founder.post("dataset/info", {"datasetId": made["datasetId"]})
    assert (told["name"], told["groupPK"]) == (CREATE["name"], made["groupPK"])
    assert told["versionInfo"]["entityCount"] == 0


def test_two_datasets_may_have_one_name(founder):
    first, second = (founder.post("dataset/create", CREATE)["datasetId"] for _ in range(2))
    assert first != second


def test_every_template_has_its_task_type(founder):
    for template, project_type, task_type in (
        (2000, 20, "TEXT_GENERATION"),
        (2001, 20, "PREFERENCE"),
        (40200, 402, "TEXT_GENERATION"),
    ):
        made = founder.post("dataset/create", CREATE | {"templateType": template, "projectType": project_type})
        assert made["templateType"] == info(founder, made["datasetId"])["templateType"] == template
        assert Dataset.objects.get(pk=made["id"]).project.task_type == task_type


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 129}, "at most 128"),
        ({"name": "a\nb"}, "control characters"),
        ({"name": 3}, "3 is not a string"),
        ({"templateType": 70500}, "2000, 2001, 40200"),
        ({"templateType": "2000"}, "not an integer"),
        ({"projectType": 402}, "belongs to projectType 20"),
        ({"dataType": 7}, "dataType"),
        ({"versionId": 2}, "versionId"),
        ({"storageType": "s3"}, "sysBos, usrBos"),
        ({"storageType": "usrBos"}, "storageId"),
        (
            {"storageType": "usrBos", "storageId": "theirs", "rawStoragePath": "/a/"},
            "not a bucket this hub may write to",
        ),
    ],
)
def test_what_cannot_be_created_is_refused_whole(founder, changed, said):
    assert said in founder.refused("dataset/create", CREATE | changed)
    assert not Project.objects.exists() and not AuditEntry.objects.exclude(subject="accesskey").exists()


def test_a_missing_field_is_named(founder):
    for name in set(CREATE) - {"versionId"}:
        body = {key: value for key, value in CREATE.items() if key != name}
        assert name in founder.refused("dataset/create", body)


def test_only_staff_may_create_datasets(db):
    Speaker(make_user()).refused("dataset/create", CREATE, code=500002)
    assert not Project.objects.exists()


def test_a_dataset_made_here_goes_with_all_that_nobody_needs(founder):
    made = founder.post("dataset/create", CREATE)
    row = Dataset.objects.get()
    make_task(row.project, "一", source=row.sources.get())
    assert founder.post("dataset/delete", {"datasetId": made["datasetId"]}) == {"versionCount": 0}
    assert not Project.objects.exists() and not Task.objects.exists()
    assert "no such dataset" in founder.refused("dataset/info", {"datasetId": made["datasetId"]})


def test_what_was_approved_outlives_its_dataset(founder):
    made = founder.post("dataset/create", CREATE)
    row = Dataset.objects.get()
    task = make_task(row.project, "一", source=row.sources.get())
    content = [{"prompt": "一", "response": [["二"]]}]
    founder.post("entity/annotate", {"id": task.uid, "datasetId": made["datasetId"], "content": content})
    Sample.objects.update(status="APPROVED", reviewed_at=task.created_at)
    founder.post("dataset/delete", {"datasetId": made["datasetId"]})
    assert Task.objects.exists() and not Dataset.objects.exists()


def test_a_dataset_that_was_exported_leaves_only_the_record(founder):
    made = founder.post("dataset/create", CREATE)
    row = Dataset.objects.get()
    make_task(row.project, "一", source=row.sources.get())
    founder.post("dataset/export", EXPORT | {"datasetId": made["datasetId"]})
    work_off()
    founder.post("dataset/delete", {"datasetId": made["datasetId"]})
    assert not Task.objects.exists() and not Dataset.objects.exists()
    assert Batch.objects.get().state == "READY" and Batch.objects.get().dataset is None


def test_a_choice_among_a_project_s_items_goes_without_them(manager, dataset_id, tasks):
    assert manager.post("dataset/delete", {"datasetId": dataset_id}) == {"versionCount": 0}
    assert Task.objects.count() == 5 and Source.objects.exists()


# Info -----------------------------------------------------------------------------------------------------------------


def test_the_version_has_every_field_that_the_client_reads(manager, dataset, dataset_id, tasks):
    version = info(manager, dataset_id)
    assert list(version)[:33] == [
        "id", "groupId", "datasetId", "datasetPK", "importRecordCount", "exportRecordCount", "bmlDatasetId", "userId",
        "versionId", "displayName", "importStatus", "importProgress", "exportStatus", "exportProgress", "dataType",
        "projectType", "templateType", "errCode", "uniqueType", "importErrorInfo", "createTime", "modifyTime",
        "storageType", "storage", "releaseStatus", "releaseProgress", "releaseErrCode", "releaseStoragePath", "remark",
        "annotatedEntityCount", "entityCount", "labelCount", "memorySize",
    ]  # fmt: skip
    assert version["datasetPK"] == dataset_id
    assert (version["dataType"], version["projectType"], version["templateType"]) == (4, 20, 2000)
    assert (version["importStatus"], version["exportStatus"], version["releaseStatus"]) == (2, -1, 2)
    assert (version["entityCount"], version["annotatedEntityCount"]) == (5, 0)
    assert version["characterCount"] == sum(len(task.content) for task in tasks)
    assert version["memorySize"] == 0.01
    assert set(version["storage"]) == {"storageId", "storageName", "storagePath", "rawStoragePath", "region"}
    assert all(isinstance(value, str) for value in version["storage"].values())


def test_counts_follow_what_happens(manager, project, dataset, dataset_id, tasks):
    other = Dataset.objects.create(project=project, name="v2")
    other.sources.add(*dataset.sources.all())  # two datasets over one source: nothing is counted twice
    answered(tasks[0], "一")
    before = info(manager, dataset_id)
    assert (before["entityCount"], before["annotatedEntityCount"]) == (5, 1)
    make_task(project, "第六个", source=dataset.sources.get())
    after = info(manager, dataset_id)
    assert (after["entityCount"], after["characterCount"] - before["characterCount"]) == (6, 3)
    assert after["modifyTime"] >= before["modifyTime"]


def test_the_time_of_a_change_is_that_of_the_latest_item(manager, dataset_id, tasks):
    at = datetime.fromisoformat("2031-02-03T04:05:06.789+00:00")
    Task.objects.filter(pk=tasks[3].pk).update(updated_at=at)
    assert info(manager, dataset_id)["modifyTime"] == "2031-02-03 04:05:06"


def test_several_datasets_are_told_of_at_once_and_at_the_price_of_one(manager, project, dataset, dataset_id, tasks):
    def cost(ids):
        manager.post("dataset/statusList", {"datasetIds": ids})
        with CaptureQueriesContext(connection) as queries:
            found = manager.post("dataset/statusList", {"datasetIds": ids})
        assert list(found) == [str(one) for one in ids]
        return len(queries), found

    number, found = cost([dataset_id])
    assert list(found[dataset_id]) == [
        "importStatus", "importProgress", "releaseStatus", "releaseProgress", "exportStatus", "exportProgress",
        "enhanceStatus", "etlStatus", "importErrorInfo", "entityCount", "annotatedEntityCount", "labelCount",
        "characterCount", "modifyTime",
    ]  # fmt: skip
    assert found[dataset_id]["entityCount"] == 5
    more = [Dataset.objects.create(project=project, name=f"more{number}") for number in range(9)]
    ids = [dataset_id, more[0].pk, *(f"ds-{row.uid}" for row in more[1:])]
    assert cost(ids)[0] == number


def test_an_unknown_dataset_among_several_is_named(manager, dataset_id, tasks):
    said = manager.refused("dataset/statusList", {"datasetIds": [dataset_id, "ds-0000000000000000"]})
    assert said == "param invalid: no such dataset: ds-0000000000000000"


# Export ---------------------------------------------------------------------------------------------------------------


def test_an_export_is_the_dataset_as_it_stands(manager, dataset_id, tasks):
    answered(tasks[1], '天津，"直辖市"。\n')
    assert manager.post("dataset/export", EXPORT | {"datasetId": dataset_id}) is True
    assert info(manager, dataset_id)["exportStatus"] == 1, "an old 2 would have the client take an old file"
    (waiting,) = records(manager, dataset_id)
    assert (waiting["status"], waiting["downloadUrl"], waiting["finishTime"]) == (0, "", "")
    work_off()
    version = info(manager, dataset_id)
    assert (version["exportStatus"], version["exportProgress"], version["exportRecordCount"]) == (2, 100, 1)
    (record,) = records(manager, dataset_id)
    assert list(record) == [
        "id", "creatorName", "storageId", "storagePath", "size", "exportFormat", "exportType", "status", "recordNum",
        "exportTo", "downloadUrl", "startTime", "finishTime",
    ]  # fmt: skip
    assert (record["status"], record["recordNum"], record["exportType"], record["exportTo"]) == (2, 5, 1, 0)
    assert record["creatorName"] == manager.user.username
    assert version["modifyTime"] <= record["finishTime"], "or the client would export again and again"
    data = fetched(manager, record["downloadUrl"])
    assert lines_of(data) == [
        [{"prompt": task.content, "response": [['天津，"直辖市"。\n' if task == tasks[1] else ""]]}] for task in tasks
    ]
    assert record["size"] == 0.01
    assert not Sample.objects.filter(batch_items__isnull=False).exists(), "nothing is claimed"


def test_an_export_of_the_source_has_no_annotations(manager, dataset_id, tasks):
    answered(tasks[0], "一")
    manager.post("dataset/export", EXPORT | {"datasetId": dataset_id, "exportType": 2})
    work_off()
    (record,) = records(manager, dataset_id)
    assert record["exportType"] == 2
    assert lines_of(fetched(manager, record["downloadUrl"])) == [[{"prompt": task.content}] for task in tasks]


def test_records_are_listed_the_newest_first(manager, dataset_id, tasks):
    for kind in (1, 2):
        manager.post("dataset/export", EXPORT | {"datasetId": dataset_id, "exportType": kind})
    work_off()
    assert [record["exportType"] for record in records(manager, dataset_id)] == [2, 1]
    with CaptureQueriesContext(connection) as two:
        records(manager, dataset_id)
    manager.post("dataset/export", EXPORT | {"datasetId": dataset_id})
    work_off()
    with CaptureQueriesContext(connection) as three:
        assert len(records(manager, dataset_id)) == 3
    assert len(three) == len(two)


def test_a_failed_export_says_so(manager, dataset_id, tasks):
    manager.post("dataset/export", EXPORT | {"datasetId": dataset_id})
    batching.cancel(Batch.objects.get(), by=manager.user)
    assert info(manager, dataset_id)["exportStatus"] == 3
    (record,) = records(manager, dataset_id)
    assert (record["status"], record["downloadUrl"], record["finishTime"]) == (3, "", "")


def test_an_empty_dataset_cannot_be_exported(manager, dataset_id):
    assert "no task was selected" in manager.refused("dataset/export", EXPORT | {"datasetId": dataset_id})
    assert not Batch.objects.exists()


def test_an_export_s_address_needs_no_key_and_opens_nothing_else(manager, dataset_id, tasks, settings):
    manager.post("dataset/export", EXPORT | {"datasetId": dataset_id})
    work_off()
    url = records(manager, dataset_id)[0]["downloadUrl"]
    entity = manager.post("entity/list", {"datasetId": dataset_id})["items"][0]["url"]
    token, name = url.split("/")[-2:]
    for other in (token[:-1] + ("a" if token[-1] != "a" else "b"), "x", entity.rpartition("/")[2]):
        answer = manager.client.get(f"/links/batches/{other}/{name}")
        assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
    assert manager.client.get(f"/wenxinworkshop/entity/content/{token}").status_code == 404
    settings.LINK_SECONDS = -1
    assert manager.client.get(url).status_code == 404


def test_an_export_to_a_bucket_is_there_under_the_name_it_tells(manager, dataset_id, tasks, s3_destination):
    asked = EXPORT | {"datasetId": dataset_id, "exportTo": 1, "storageId": s3_destination.bucket}
    manager.post("dataset/export", asked)
    work_off()
    (record,) = records(manager, dataset_id)
    assert (record["exportTo"], record["storageId"], record["status"]) == (1, s3_destination.bucket, 2)
    key = record["storagePath"].removeprefix(f"bos:/{s3_destination.bucket}/")
    assert s3_destination.keys().count(key) == 1
    stored = s3_destination.client().get_object(Bucket=s3_destination.bucket, Key=key)["Body"].read()
    presigned = requests.get(record["downloadUrl"], timeout=30)
    assert presigned.status_code == 200 and presigned.content == stored
    assert len(lines_of(stored)) == 5


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"exportTo": 1}, "storageId"),
        ({"exportTo": 1, "storageId": ""}, "storageId"),
        ({"exportTo": 1, "storageId": "somebody-elses"}, "not a bucket this hub may write to"),
        ({"exportTo": 1, "storageId": "local"}, "not a bucket this hub may write to"),
        ({"exportTo": 1, "storageId": "../secrets"}, "not a bucket this hub may write to"),
        ({"exportTo": 2}, "0, 1"),
        ({"exportTo": "0"}, "not an integer"),
        ({"exportTo": True}, "not an integer"),
        ({"exportType": 0}, "1, 2"),
        ({"exportType": 3}, "1, 2"),
        ({"exportFormat": 1}, "exportFormat"),
        ({"exportFormat": None}, "exportFormat"),
    ],
)
def test_what_cannot_be_exported_is_refused_before_anything_is_made(
    manager, dataset_id, tasks, s3_destination, changed, said
):
    message = manager.refused("dataset/export", EXPORT | {"datasetId": dataset_id} | changed)
    assert said in message
    if "storageId" in changed and changed["storageId"]:
        assert s3_destination.bucket in message, "what is allowed is named"
    assert not Batch.objects.exists()


def test_exporting_takes_the_power_to_export(make_speaker, dataset_id, tasks):
    for role in (Role.VIEWER, Role.ANNOTATOR, Role.REVIEWER):
        speaker = make_speaker(role)
        speaker.refused("dataset/export", EXPORT | {"datasetId": dataset_id}, code=500002)
        speaker.refused("dataset/exportRecord", {"datasetId": dataset_id}, code=500002)
    make_speaker(Role.BUYER).post("dataset/export", EXPORT | {"datasetId": dataset_id})
    assert Batch.objects.count() == 1


def test_any_project_s_items_leave_as_prompts_and_responses(db):
    project = make_project(labels=("Positif", "Négatif"))
    dataset = Dataset.objects.create(project=project, name="d")
    dataset.sources.add(make_source(project))
    make_settled_task(project, "Bien !", label="Positif")
    make_task(project, "Hm.")
    speaker = Speaker(make_member(project, Role.MANAGER))
    speaker.post("dataset/export", EXPORT | {"datasetId": f"ds-{dataset.uid}"})
    work_off()
    assert lines_of(storages["local"].open(Batch.objects.get().path).read()) == [
        [{"prompt": "Bien !", "response": [["Positif"]]}],
        [{"prompt": "Hm.", "response": [[""]]}],
    ]


# V2 -------------------------------------------------------------------------------------------------------------------


def test_an_export_task_of_version_two_is_followed_to_its_end(manager, dataset_id, tasks):
    task_id = manager.act("CreateExportTask", {"versionId": dataset_id, "storageType": "sysStorage"})
    assert isinstance(task_id, str)
    waiting = manager.act("DescribeExportTask", {"taskId": task_id})
    assert (waiting["exportStatus"], waiting["progress"], waiting["downloadUrl"]) == ("Exporting", "0", "")
    work_off()
    done = manager.act("DescribeExportTask", {"taskId": task_id})
    assert (done["exportStatus"], done["progress"], done["sampleCount"]) == ("ExportFinished", "100%", 5)
    assert (done["storageType"], done["sizeMB"], done["creator"]) == ("sysStorage", 0.01, manager.user.username)
    assert len(lines_of(fetched(manager, done["downloadUrl"]))) == 5


def test_version_two_writes_to_a_bucket_too(manager, dataset_id, tasks, s3_destination):
    asked = {"versionId": dataset_id, "storageType": "BOS"}
    task_id = manager.act("CreateExportTask", asked | {"storagePath": f"bos:/{s3_destination.bucket}/dir/"})
    work_off()
    done = manager.act("DescribeExportTask", {"taskId": task_id})
    assert done["storageType"] == "BOS" and done["storagePath"].startswith(f"bos:/{s3_destination.bucket}/")
    assert requests.get(done["downloadUrl"], timeout=30).status_code == 200
    for path in (None, "", "s3://x/", "bos:/other/dir/", f"bos:{s3_destination.bucket}"):
        body = asked | ({} if path is None else {"storagePath": path})
        refused = manager.ask("/v2/dataset?Action=CreateExportTask", body)
        assert (refused.code, refused.told["code"]) == (400, "InappropriateJSON")
        assert "param[storagePath] invalid." in refused.told["message"]
    assert Batch.objects.count() == 1


def test_a_version_is_described(manager, dataset_id, tasks):
    told = manager.act("DescribeDatasetVersion", {"versionId": dataset_id})
    assert (told["versionId"], told["dataFormat"], told["storageType"]) == (dataset_id, "PromptResponse", "sysStorage")
    assert (told["importStatus"], told["publishStatus"]) == ("ImportFinished", "Published")
    assert (told["datasetName"], told["sampleCount"]) == ("常用提示", 5)


def test_datasets_are_listed_a_page_at_a_time_from_either_end(manager, project, dataset):
    for number in range(2, 6):
        Dataset.objects.create(project=project, name=f"v{number}")
    newest_first = [f"ds-{row.uid}" for row in Dataset.objects.order_by("-pk")]
    for reverse, order in ((False, newest_first), (True, newest_first[::-1])):
        seen, marker = [], None
        while True:
            body = {"maxKeys": 2, "pageReverse": reverse} | ({"marker": marker} if marker else {})
            told = manager.act("DescribeDatasets", body)
            seen += [row["versionId"] for row in told["datasetList"]]
            marker = told["pageInfo"]["nextMarker"]
            assert told["pageInfo"]["isTruncated"] == bool(marker)
            if not marker:
                break
        assert seen == order
    assert manager.act("DescribeDatasets")["pageInfo"]["maxKeys"] == 10
    assert manager.act("DescribeDatasets", {"maxKeys": 5000})["pageInfo"]["maxKeys"] == 100


def test_datasets_of_others_are_not_listed(stranger, dataset, tasks):
    assert stranger.act("DescribeDatasets")["datasetList"] == []


def test_a_download_can_be_taken_up_where_it_broke_off(manager, dataset_id, tasks):
    manager.post("dataset/export", EXPORT | {"datasetId": dataset_id})
    work_off()
    url = records(manager, dataset_id)[0]["downloadUrl"]
    whole = fetched(manager, url)
    rest = manager.client.get(url, headers={"range": "bytes=100-"})
    assert (rest.status_code, b"".join(rest.streaming_content)) == (206, whole[100:])
