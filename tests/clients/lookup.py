"""lookup.py KIND NAME [KIND NAME]... with Python's socket module. For each name, prints one line per answer, or
`missing`, or `empty` when the name exists without such records, or `failed` and the reason; then `--`."""
import socket
import sys

FAMILIES = {"address": socket.AF_UNSPEC, "a": socket.AF_INET, "aaaa": socket.AF_INET6}
NO_ANSWER = {socket.EAI_NONAME: "missing", socket.EAI_NODATA: "empty"}


def answer(kind, name):
    try:
        if kind == "reverse":
            print(socket.gethostbyaddr(name)[0])
            return
        for found in socket.getaddrinfo(name, None, FAMILIES[kind], socket.SOCK_STREAM):
            print(found[4][0])
    except socket.herror as error:
        print("missing" if error.errno == 1 else f"failed {error}")
    except socket.gaierror as error:
        print(NO_ANSWER.get(error.errno, f"failed {error}"))


for at in range(1, len(sys.argv) - 1, 2):
    answer(*sys.argv[at : at + 2])
    print("--")
