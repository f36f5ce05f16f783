"""`nws submit`: the script, what is refused, and, where there is a SLURM, an array of four of which two come to a bad end."""

import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest
from test_many_writers import contents, ended, start

from nws import NwsError, Zoo
from nws.slurm import Array

SLOW = [
    "--family",
    "waiting:Waiting",
    "--images",
    "digits",
    "--limit",
    "20",
    "--limit-test",
    "10",
    "--epochs",
    "2",
    "--snapshots",
    "2",
]
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "scontrol", "squeue")


def nws(*words, folder, **environment):
    command = [sys.executable, "-m", "nws", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env={**os.environ, **environment})


def array(**changes):
    return Array(
        **{"command": ["nws", "sample", "a b"], "folder": Path("logs"), "name": "z", "jobs": 3, "cpus": 2, "time": "4h"} | changes
    )


@pytest.mark.parametrize(
    ("time", "written"),
    [("4h", "0-04:00:00"), ("90m", "0-01:30:00"), ("2d", "2-00:00:00"), ("04:00:00", "0-04:00:00"), ("1-12:00:00", "1-12:00:00")],
)
def test_the_wall_time_as_slurm_writes_it(time, written):
    assert f"#SBATCH --time={written}\n" in array(time=time).script()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"time": "soon"}, "--time soon"),
        ({"time": "10:00"}, "--time 10:00"),
        ({"time": "5s"}, "--time 5s"),
        ({"jobs": 0}, "0 jobs"),
        ({"more": ["partition=a\nrm -r x"]}, "--sbatch"),
        ({"more": ["--partition=a"]}, "--sbatch"),
        ({"folder": Path("a\nb")}, "line ends"),
        ({"command": ["nws", "a\nb"]}, "line ends"),
    ],
)
def test_what_slurm_would_misunderstand_is_refused(changes, word):
    with pytest.raises(NwsError, match=word):
        array(**changes)


def test_a_dry_run_prints_the_script_and_changes_nothing(tmp_path):
    made = nws(
        "submit", "my zoo", *SLOW[2:], "--jobs", 7, "--workers", 3, "--sbatch", "partition=short", "--dry-run", folder=tmp_path
    )
    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    options = {line.removeprefix("#SBATCH --") for line in lines if line.startswith("#SBATCH")}
    assert options >= {"array=0-6", "cpus-per-task=3", "time=0-04:00:00", "requeue", "signal=B:USR1@120", "partition=short"}
    assert lines[-1].startswith("exec ")
    assert (
        f"sample '{tmp_path}/my zoo' --images digits --snapshots 2 --epochs 2 --limit 20 --limit-test 10 --workers 3" in lines[-1]
    )
    assert not list(tmp_path.iterdir())
    subprocess.run(["bash", "-n"], input=made.stdout, text=True, check=True)


def test_handed_in_is_what_sbatch_is_given_and_what_it_says_against_it_is_one_line(tmp_path):
    fake = tmp_path / "bin" / "sbatch"
    fake.parent.mkdir()
    environment = {"PATH": f"{fake.parent}{os.pathsep}{os.environ['PATH']}"}
    words = ("submit", "zoo", *SLOW[2:], "--set", "width_conv=1", "--set", "width_fc=8", "--nets", 5, "--jobs", 100, "--json")
    for script, code in (("echo '123;cluster'", 0), ("echo 'sbatch: error: no such partition' >&2; exit 1", 2)):
        fake.write_text(f"#!/bin/sh\n{script}\n")
        fake.chmod(fake.stat().st_mode | stat.S_IEXEC)
        made = nws(*words, folder=tmp_path, **environment)
        assert made.returncode == code, made.stderr
        assert "no such partition" in made.stderr if code else '"job": "123"' in made.stdout
        assert "Traceback" not in made.stderr
    assert "array=0-4" in (tmp_path / "zoo-slurm" / "job.sh").read_text(), "no more tasks than nets"
    assert Zoo(tmp_path / "zoo").planned == 5
    refused = nws(*words, "--seed", 2, folder=tmp_path, **environment)
    assert (refused.returncode, "was made with seed=0, not 2" in refused.stderr) == (2, True)


@pytest.fixture
def slurm(tmp_path_factory, monkeypatch):
    """A SLURM of this machine alone, with ports of its own and without munge; it may run four tasks on however few cores."""
    missing = [program for program in PROGRAMS if not shutil.which(program)]
    if missing or os.geteuid():
        pytest.skip(f"no SLURM to start here ({', '.join(missing) or 'not root'}): apt-get install slurm-wlm, as root")
    folder, host = tmp_path_factory.mktemp("slurm"), socket.gethostname().split(".")[0]
    ports = [free_port(), free_port()]
    settings = {
        "ClusterName": "nws", "SlurmctldHost": f"{host}(127.0.0.1)", "SlurmctldPort": ports[0], "SlurmdPort": ports[1],
        "AuthType": "auth/none", "CredType": "cred/none", "ProctrackType": "proctrack/linuxproc", "TaskPlugin": "task/none",
        "SwitchType": "switch/none", "MpiDefault": "none", "ReturnToService": 2, "SlurmUser": "root", "KillWait": 10,
        "SlurmctldPidFile": folder / "ctld.pid", "SlurmdPidFile": folder / "d.pid", "SlurmdSpoolDir": folder / "spool",
        "StateSaveLocation": folder / "state", "SlurmctldLogFile": folder / "ctld.log", "SlurmdLogFile": folder / "d.log",
        "SelectType": "select/cons_tres", "SelectTypeParameters": "CR_Core", "SlurmdParameters": "config_overrides",
        "AccountingStorageType": "accounting_storage/none", "JobAcctGatherType": "jobacct_gather/none",
    }  # fmt: skip
    (folder / "spool").mkdir()
    (folder / "state").mkdir()
    nodes = f"NodeName={host} NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN\nPartitionName=all Nodes=ALL Default=YES State=UP\n"
    (folder / "slurm.conf").write_text("".join(f"{name}={value}\n" for name, value in settings.items()) + nodes)
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    daemons = [
        subprocess.Popen([name, "-D"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for name in ("slurmctld", "slurmd")
    ]
    try:
        deadline = time.monotonic() + 60
        while "idle" not in said("sinfo", "-h", "-o", "%t"):
            if time.monotonic() > deadline:
                pytest.skip(f"SLURM does not start here: {(folder / 'ctld.log').read_text()[-500:]}")
            time.sleep(0.5)
        yield
    finally:
        said("scancel", "--user", "root")
        for daemon in reversed(daemons):
            daemon.terminate()
            daemon.wait()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def said(*command):
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def until(true, seconds=400):
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, said("squeue")
        time.sleep(0.5)


@pytest.mark.slow
def test_an_array_of_four_one_killed_one_out_of_time_makes_the_zoo_of_one(tmp_path, slurm, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))
    monkeypatch.setenv("NWS_WAIT", "0.5")
    words = ("submit", tmp_path / "zoo", *SLOW, "--nets", 160, "--jobs", 4, "--time", "10m", "--workers", 1, "--json")
    made = nws(*words, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    job = re.search(r'"job": "(\d+)"', made.stdout)[1]
    zoo = Zoo(tmp_path / "zoo")
    until(lambda: len(zoo.writers) == 4 and all(writer.done for writer in zoo.writers))
    at_work = {writer.share: writer for writer in zoo.writers}
    assert set(at_work) == {"0/4", "1/4", "2/4", "3/4"}
    said("scontrol", "update", f"JobId={job}_3", "TimeLimit=1")  # so SLURM tells it to begin nothing more, and ends it
    os.kill(at_work["2/4"].pid, signal.SIGKILL)
    until(lambda: not said("squeue", "-h"))
    assert zoo.missing() == []
    assert not (zoo.path / "claims").exists()
    states = {task: said("scontrol", "show", "job", "--oneliner", f"{job}_{task}") for task in range(4)}
    assert all("JobState=COMPLETED" in states[task] for task in (0, 1, 3)), states
    assert "JobState=FAILED" in states[2]
    assert "nets are left: the same command goes on" in (tmp_path / "zoo-slurm" / f"{job}_3.log").read_text()
    assert ended(start(tmp_path / "alone", SLOW, 160, wait="0"))[0] == 0
    assert contents(zoo) == contents(Zoo(tmp_path / "alone"))
