"""The CPU and the memory of a process, as the kernel accounts for them."""

from pathlib import Path


def seconds_of(pid: int) -> float:
    """Return what all threads of a process have run, in seconds, to the nanosecond."""
    stats = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(stat.read_text().split()[0]) for stat in stats) / 1e9


def resident_bytes(pid: int) -> int:
    """Return the memory that is the process's own: without files, which processes share."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kilobytes = next(line.split()[1] for line in lines if line.startswith("RssAnon:"))
    return int(kilobytes) * 1024
