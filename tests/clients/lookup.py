"""lookup.py KIND NAME by Python's socket module. Prints a line for each answer, or `missing`, or `failed` and why."""
import socket
import sys

kind, name = sys.argv[1:]
try:
    if kind == "ptr":
        print(socket.gethostbyaddr(name)[0])
    else:
        for found in socket.getaddrinfo(name, None, type=socket.SOCK_STREAM):
            print(found[4][0])
except socket.herror as error:
    print("missing" if error.errno == 1 else f"failed {error}")
except socket.gaierror as error:
    print("missing" if error.errno in (socket.EAI_NONAME, socket.EAI_NODATA) else f"failed {error}")
