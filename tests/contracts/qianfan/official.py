"""What a user of the official SDK writes; a process of its own, for the SDK's settings are the process's.

`python -m tests.contracts.qianfan.official <verb> …` with QIANFAN_* in its environment; the last line is JSON.
"""

import json
import sys


def plain(value):
    return json.loads(json.dumps(value, default=str))


def walk(dataset_id):
    """List the entities, page by page, and read each one's content as the SDK does."""
    from qianfan.resources import Data

    seen, offset = [], 0
    while True:
        page = Data.list_all_entity_in_dataset(dataset_id, offset=offset, page_size=2)["result"]
        seen += [item["id"] for item in page["items"]]
        offset += 2
        if offset >= page["total"]:
            return seen


def annotate(dataset_id, entity_id, prompt, response):
    from qianfan.resources import Data

    content = [{"prompt": prompt, "response": [[response]]}]
    return plain(Data.annotate_an_entity(entity_id, dataset_id, content=content)["result"])


def delete(dataset_id, *entity_ids):
    from qianfan.resources import Data

    return plain(Data.delete_an_entity(list(entity_ids), dataset_id)["result"])


def contents(dataset_id):
    """A slice of the dataset on the platform, fetched through the addresses in the list."""
    from qianfan.dataset import Dataset

    return plain(Dataset.load(qianfan_dataset_id=dataset_id).list(slice(0, 100)))


def export(dataset_id, path):
    """Have the dataset exported, wait, download and unzip it, and write it to `path`: all of that is the SDK's."""
    from qianfan.dataset import Dataset

    dataset = Dataset.load(qianfan_dataset_id=dataset_id)
    dataset.save(data_file=path)
    return len(Dataset.load(data_file=path))


def statuses(*dataset_ids):
    from qianfan.resources import Data

    return plain(Data.get_dataset_status_in_batch(list(dataset_ids))["result"])


def create(name):
    from qianfan.dataset import Dataset
    from qianfan.dataset.data_source import QianfanDataSource
    from qianfan.resources.console.consts import DataTemplateType

    source = QianfanDataSource.create_bare_dataset(name, DataTemplateType.NonSortedConversation)
    again = Dataset.load(qianfan_dataset_id=source.id)
    return {"id": source.id, "again": again.inner_data_source_cache.name, "version": source.version}


def remove(dataset_id):
    from qianfan.resources import Data

    return plain(Data.delete_dataset(dataset_id)["result"])


def version_two(dataset_id):
    """An export through V2: create the task, follow it, and the two descriptions."""
    import time

    from qianfan.resources import Data
    from qianfan.resources.console.consts import V2

    listed = Data.V2.get_dataset_list()["result"]
    described = Data.V2.get_dataset_version_info(dataset_id)["result"]
    task = Data.V2.create_dataset_version_export_task(dataset_id, V2.StorageType.SysStorage)["result"]
    for _ in range(100):
        told = Data.V2.get_dataset_version_export_task_info(task)["result"]
        if told["exportStatus"] != "Exporting":
            break
        time.sleep(0.2)
    return plain({"listed": listed, "described": described, "task": told})


def refused(dataset_id):
    """How the SDK tells its user of each way to fail."""
    from qianfan.resources import Data

    try:
        Data.get_dataset_info(dataset_id)
    except Exception as error:
        return {"kind": type(error).__name__, "said": str(error)}
    return None


if __name__ == "__main__":
    verb, *arguments = sys.argv[1:]
    print(json.dumps(globals()[verb](*arguments)))
