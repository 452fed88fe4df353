"""Two network namespaces as two hosts: torchrun on each, and the curve they learn by beside that of one process.

    sudo python benchmarks/hosts.py [--steps 20]

Linux with iproute2, as root. The namespaces, and the cable between them, are gone afterwards.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from machine import processor

from quickstudy.checkpoint import load_tensors

HOSTS = {"qs-one": "10.77.0.1", "qs-two": "10.77.0.2"}


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def lay_cable() -> None:
    one, two = HOSTS
    for host in HOSTS:
        ip("netns", "add", host)
    ip("link", "add", one, "netns", one, "type", "veth", "peer", "name", two, "netns", two)
    for host, address in HOSTS.items():
        ip("-n", host, "address", "add", f"{address}/24", "dev", host)
        for device in (host, "lo"):
            ip("-n", host, "link", "set", device, "up")


def train(steps: int, out: Path) -> list[str]:
    words = ["-m", "quickstudy", "train", "maml", "--batch", 4, "--steps", steps, "--engine", "loop:1:1", "--out", out]
    return [str(word) for word in words]


def on_two_hosts(steps: int, out: Path) -> None:
    runs = []
    for rank, host in enumerate(HOSTS):
        command = ["ip", "netns", "exec", host, sys.executable, "-m", "torch.distributed.run"]
        command += ["--nnodes", "2", "--nproc-per-node", "1", "--node-rank", str(rank)]
        command += ["--master-addr", HOSTS["qs-one"], "--master-port", "29500", *train(steps, out)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": host}
        runs.append(subprocess.Popen(command, env=environment))
    if [run.wait() for run in runs] != [0, 0]:
        raise SystemExit("a host failed; what it said stands above.")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=20)
    steps = parser.parse_args().steps
    with tempfile.TemporaryDirectory() as folder:
        one, two = Path(folder) / "one", Path(folder) / "two"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        subprocess.run([sys.executable, *train(steps, one)], check=True, env=environment)
        try:
            lay_cable()
            on_two_hosts(steps, two)
        finally:
            for host in HOSTS:
                subprocess.run(["ip", "netns", "delete", host], check=False)
        curves = [
            torch.tensor([row[1] for row in load_tensors(out / "last.safetensors")[1]["curve"]]) for out in (one, two)
        ]
        apart = ((curves[0] - curves[1]).abs() / curves[0]).max().item()
        print(f"{processor()}: {steps} steps on two hosts and on one; losses differ by {apart:.1e} at most, relatively")


if __name__ == "__main__":
    main()
