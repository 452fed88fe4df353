"""Kills `quickstudy train` at random moments, resumes it, and compares what it ends with to a run left alone.

    python benchmarks/kill.py [--kills 20]

Every run is killed with SIGKILL after a random time, as often as it takes to get through the kills, and then ends.
"""

import argparse
import hashlib
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--method", default="protonet")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    arguments = parser.parse_args()
    moments = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory() as folder:
        alone, killed = Path(folder) / "alone", Path(folder) / "killed"
        start = time.monotonic()
        run(arguments, alone).wait()
        length = time.monotonic() - start
        expected = digest(alone)
        print(f"left alone: {length:.0f} s, {expected}", flush=True)
        done, rounds = 0, 0
        while done < arguments.kills:
            process = run(arguments, killed)
            try:
                process.wait(timeout=moments.uniform(0, length))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
                done += 1
                print(f"kill {done}: {sorted(path.name for path in killed.glob('*'))}", flush=True)
                continue
            rounds += 1
            if (code := check(process, killed, expected)) != 0:
                return code
            subprocess.run(["rm", "-r", killed], check=True)
        process = run(arguments, killed)
        process.wait()
        if (code := check(process, killed, expected)) != 0:
            return code
        print(f"{done} kills, {rounds + 1} runs to the end: every final checkpoint is {expected}")
    return 0


def run(arguments: argparse.Namespace, out: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "quickstudy", "train", arguments.method, "--out", out, "--resume"]
    command += ["--steps", arguments.steps, "--batch", 4, "--checkpoint-seconds", 0.2]
    return subprocess.Popen([str(word) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def check(process: subprocess.Popen, folder: Path, expected: str) -> int:
    if process.returncode != 0:
        print(f"exit code {process.returncode}: {process.stderr.read().decode()}")  # pyright: ignore[reportOptionalMemberAccess]
        return 1
    if digest(folder) != expected or list(folder.rglob(".*")):
        print(f"DIFFERS: {digest(folder)}, files {sorted(path.name for path in folder.rglob('*'))}")
        return 1
    return 0


def digest(folder: Path) -> str:
    return hashlib.sha256((folder / "learner.safetensors").read_bytes()).hexdigest()[:16]


if __name__ == "__main__":
    sys.exit(main())
