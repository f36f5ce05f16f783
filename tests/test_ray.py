"""A zoo filled by a cluster of Ray: equal to one of this process alone, also when a node is killed in the middle."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytest.importorskip("ray", reason="Ray is not installed: pip install 'nws[ray]'")

import nws
from nws.train.runners import Ray

SPACE = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8, batch_size=32)
QUICK = {"images": "digits", "limit": 100, "limit_test": 20, "epochs": 20, "snapshots": 3}
# A cluster of two nodes; the second is killed when a few nets are there. In a process of its own, for Ray stays in one.
TWO_NODES = """
import json, sys
import nws
from nws.train.runners import Ray
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
second = cluster.add_node(num_cpus=1)
space = nws.FIXED.with_(filter_size=3, width_conv=1, width_fc=8, batch_size=32)
seen = []

def kill(said):
    seen.append(said.number)
    if len(seen) == 5:
        cluster.remove_node(second, allow_graceful=False)

zoo = nws.sample(sys.argv[1], space.sample(60), runner=Ray(cluster.address), on_progress=kill, **json.loads(sys.argv[2]))
print(json.dumps(sorted(seen)))
cluster.shutdown()
"""


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    return nws.sample(tmp_path_factory.mktemp("alone") / "zoo", SPACE.sample(60), workers=1, **QUICK)


def same(a, b):
    assert a.numbers() == b.numbers()
    for one, other in zip(a, b):
        assert (one.hp, one.status, one.epoch.tolist()) == (other.hp, other.status, other.epoch.tolist())
        assert one.theta.tobytes() == other.theta.tobytes()
        assert one.history.tobytes() == other.history.tobytes()


def test_a_node_is_killed_and_nothing_is_lost(tmp_path, alone):
    told = subprocess.run(
        [sys.executable, "-c", TWO_NODES, str(tmp_path / "zoo"), json.dumps(QUICK)],
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert told.returncode == 0, told.stderr[-3000:]
    assert json.loads(told.stdout.strip().splitlines()[-1]) == list(range(60)), "each net is told once"
    zoo = nws.Zoo(tmp_path / "zoo")
    same(zoo, alone)
    assert not (zoo.path / "claims").exists()


def test_ctrl_c_keeps_what_is_finished_and_the_same_command_goes_on_with_processes(tmp_path, alone):
    settings = ["--images", "digits", "--limit", "100", "--limit-test", "20", "--epochs", "20", "--snapshots", "3"]
    narrowed = [word for name in ("filter_size=3", "width_conv=1", "width_fc=8", "batch_size=32") for word in ("--set", name)]
    command = [sys.executable, "-m", "nws", "sample", str(tmp_path / "zoo"), *settings, *narrowed, "--nets", "60", "--workers", "1"]
    process = subprocess.Popen([*command, "--runner", "ray"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not list(Path(tmp_path).rglob("*.safetensors")):
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    said = process.communicate(timeout=200)[1]
    assert process.returncode == 130
    assert "what was finished is kept" in said
    assert "Traceback" not in said
    zoo = nws.Zoo(tmp_path / "zoo")
    assert not zoo.verify().damaged
    assert not (zoo.path / "claims").exists()
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    same(zoo, alone)


def test_an_address_without_a_cluster_is_one_line(tmp_path):
    with pytest.raises(nws.NwsError, match=r"--address 127\.0\.0\.1:1: no Ray cluster there") as said:
        nws.sample(tmp_path / "zoo", SPACE.sample(1), runner=Ray("127.0.0.1:1"), **QUICK)
    assert "\n" not in str(said.value)
    with pytest.raises(nws.NwsError, match="on each host that has a GPU"):
        list(Ray()([], {}, nws.train.runners.Training("gpu", nws.train.Schedule()), 1, lambda progress: None))
    assert os.environ  # the process goes on
