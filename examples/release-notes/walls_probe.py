"""Tries everything that would be a way out of the walls, and says what it reached.

Prints a JSON object: what was tried, and whether it was reached. Every value should be false.
"""

import ctypes
import fcntl
import json
import os
import socket
import sys
import termios

LIBC = ctypes.CDLL(None, use_errno=True)
SYS_UNSHARE, SYS_PTRACE, SYS_PROCESS_VM_READV, SYS_KEYCTL, SYS_IO_URING = 272, 101, 310, 250, 425
CLONE_NEWUSER, PTRACE_ATTACH = 0x10000000, 16


def succeeds(action, *args):
    try:
        action(*args)
    except (OSError, ValueError):
        return False
    return True


def read(path):
    with open(path, "rb") as file:
        file.read(1)


def connect(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as one:
        one.settimeout(2)
        one.connect(address)


def system_call(number, *args):
    if LIBC.syscall(number, *args) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def push_to_terminal():
    with open("/dev/tty", "rb") as terminal:
        fcntl.ioctl(terminal, termios.TIOCSTI, b"x")


def other_processes():
    mine = {os.getpid(), os.getppid(), 1}
    others = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    strangers = [pid for pid in others if pid not in mine]
    # The agent that started this probe and its bridge are its own; nothing else may be seen.
    return len(strangers) > 2


def secrets_in_reach(words):
    """Looks for words that only AIMS's own files hold in the environment and in arguments."""
    text = "\n".join(f"{k}={v}" for k, v in os.environ.items()) + "\n".join(sys.argv[2:])
    return any(word in text for word in words)


def main():
    targets = json.loads(sys.argv[1])
    tried = {f"read {path}": succeeds(read, path) for path in targets["files"]}
    for path in targets["sockets"]:
        tried[f"connect to {path}"] = succeeds(connect, socket.AF_UNIX, path)
    for port in targets["ports"]:
        tried[f"connect to the host's 127.0.0.1:{port}"] = succeeds(
            connect, socket.AF_INET, ("127.0.0.1", port))
    tried |= {
        "open network": succeeds(connect, socket.AF_INET, ("192.0.2.1", 443)),
        "abstract socket": succeeds(connect, socket.AF_UNIX, "\0aims"),
        "vsock": succeeds(connect, getattr(socket, "AF_VSOCK", 40), (2, 22)),
        "netlink": succeeds(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0),
        "raw socket": succeeds(socket.socket, socket.AF_INET, socket.SOCK_RAW, 1),
        "type into a terminal": succeeds(push_to_terminal),
        "nested user namespace": succeeds(system_call, SYS_UNSHARE, CLONE_NEWUSER),
        "attach to another process": succeeds(system_call, SYS_PTRACE, PTRACE_ATTACH, 1, 0, 0),
        "read another process's memory": succeeds(
            system_call, SYS_PROCESS_VM_READV, 1, 0, 0, 0, 0, 0),
        "read /proc/1/mem": succeeds(read, "/proc/1/mem"),
        "keyrings": succeeds(system_call, SYS_KEYCTL, 0, -3, 1),
        "io_uring": succeeds(system_call, SYS_IO_URING, 8, 0),
        "processes of others": other_processes(),
        "inherited descriptors": len(os.listdir("/proc/self/fd")) > 4,
        "secrets in the environment": secrets_in_reach(targets["words"]),
    }
    print(json.dumps(tried))


main()
