"""A real S3 store as one process: OpenStack Swift's four servers behind its s3api, on loopback.

    python server.py ROOT PARENT_PID ACCESS_KEY SECRET_KEY [PORT PORT PORT PORT]

Everything is kept under ROOT; the access key is an account and its user, as "hub:curator". The ports (proxy, account,
container, object) are free ones, or those given: a store that is started again on its old root needs its old ports. When
it listens, ROOT/ports.json appears. When the process PARENT_PID is gone, the store removes ROOT and ends.
"""

import json
import os
import pwd
import shutil
import sys
from pathlib import Path

import eventlet
import eventlet.wsgi

STORES = ("account", "container", "object")
REGION = "us-east-1"


def filters(access_key, secret_key):
    """What a request passes through, in this order: errors caught first, S3 put into Swift's own words, then who it is."""
    return {
        "catch_errors": {},
        "listing_formats": {},
        "bulk": {},
        "s3api": {"location": REGION, "s3_acl": "false"},
        "tempauth": {"user_" + access_key.replace(":", "_"): f"{secret_key} .admin"},
        "slo": {},
        "dlo": {},
    }


def write_ini(path, sections):
    path.write_text(
        "".join(
            f"[{name}]\n" + "".join(f"{key} = {value}\n" for key, value in pairs.items())
            for name, pairs in sections.items()
        )
    )
    return str(path)


def write_ring(root, kind, port):
    """The map of a cluster of one: a single device, a single copy."""
    from swift.common.ring import RingBuilder

    place = {"ip": "127.0.0.1", "port": port, "replication_ip": "127.0.0.1", "replication_port": port}
    ring = RingBuilder(part_power=3, replicas=1, min_part_hours=0)
    ring.add_dev({"region": 1, "zone": 1, "device": "disk", "weight": 1.0, "meta": "", **place})
    ring.rebalance(seed=1)
    ring.get_ring().save(str(root / f"{kind}.ring.gz"))


def configs(root, ports, doors):
    """Write the configuration files; yields each server's name with its own."""
    from swift.common import utils

    utils.SWIFT_CONF_FILE = write_ini(
        root / "swift.conf",
        {
            "swift-hash": {"swift_hash_path_prefix": "labelhub", "swift_hash_path_suffix": "labelhub"},
            "storage-policy:0": {"name": "only", "default": "yes"},
        },
    )
    common = {
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "swift_dir": root,
        "workers": 0,
        "log_address": os.devnull,
        "log_level": "CRITICAL",
    }
    for kind in STORES:
        disk = {"devices": root / "devices", "mount_check": "false", "disable_fallocate": "true"}
        yield (
            kind,
            write_ini(
                root / f"{kind}.conf",
                {
                    "DEFAULT": {**common, **disk, "fallocate_reserve": 0, "bind_port": ports[kind]},
                    "pipeline:main": {"pipeline": f"{kind}-server"},
                    f"app:{kind}-server": {"use": f"egg:swift#{kind}", "log_requests": "false"},
                },
            ),
        )
    yield (
        "proxy",
        write_ini(
            root / "proxy.conf",
            {
                "DEFAULT": {**common, "bind_port": ports["proxy"]},
                "pipeline:main": {"pipeline": " ".join([*doors, "proxy-server"])},
                "app:proxy-server": {"use": "egg:swift#proxy", "account_autocreate": "true"},
                **{f"filter:{name}": {"use": f"egg:swift#{name}", **options} for name, options in doors.items()},
            },
        ),
    )


def serve(root, parent, ports, doors):
    """Listen until the process `parent` is gone."""
    from swift.common.wsgi import SwiftHttpProtocol, loadapp

    (root / "devices" / "disk").mkdir(parents=True, exist_ok=True)
    sockets = {kind: eventlet.listen(("127.0.0.1", port)) for kind, port in zip(("proxy", *STORES), ports, strict=True)}
    bound = {kind: socket.getsockname()[1] for kind, socket in sockets.items()}
    for kind in STORES:
        if not (root / f"{kind}.ring.gz").exists():
            write_ring(root, kind, bound[kind])
    for kind, path in configs(root, bound, doors):
        eventlet.spawn(
            eventlet.wsgi.server,
            sockets[kind],
            loadapp(path, global_conf={"log_name": kind}),
            protocol=SwiftHttpProtocol,
            log_output=False,
            capitalize_response_headers=False,
        )
    eventlet.sleep()
    unfinished = root / "ports.json.unfinished"
    unfinished.write_text(json.dumps(list(bound.values())))
    unfinished.rename(root / "ports.json")
    while os.getppid() == parent:
        eventlet.sleep(0.5)
    shutil.rmtree(root, ignore_errors=True)


if __name__ == "__main__":
    eventlet.monkey_patch()  # before anything of Swift is imported: its servers share this one thread
    folder, parent_pid, *keys = sys.argv[1:5]
    serve(Path(folder).resolve(), int(parent_pid), [int(port) for port in sys.argv[5:]] or [0, 0, 0, 0], filters(*keys))
