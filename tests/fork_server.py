"""Runs `python -m …` in forks of one process that has the heavy packages loaded already.

A pipeline of fifty stages spends minutes importing torch. A folder on PATH whose `python` asks this
server leaves DVC, its commands and the stages as they are, and takes that time away.
"""

import importlib
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

CLIENT = """#!{python} -IS
import json, os, socket, sys
server = socket.socket(socket.AF_UNIX)
server.connect({address!r})
job = {{"argv": sys.argv[1:], "cwd": os.getcwd(), "environment": dict(os.environ)}}
socket.send_fds(server, [b"!"], [0, 1, 2])
server.sendall(json.dumps(job).encode())
server.shutdown(socket.SHUT_WR)
code = server.recv(16)
sys.exit(int(code) if code else 70)
"""

LOADED = ["torch", "scipy.stats", "pandas", "pyarrow.parquet", "pydantic:BaseModel", "PIL.Image"]
LOADED += ["ruamel.yaml", "tqdm", "safetensors.torch", "diffusers:UNet2DConditionModel"]
LOADED += ["mlflow:MlflowClient"]
LOADED += ["diffusers:AutoencoderKL", "diffusers:DDIMScheduler", "transformers:CLIPTextModel"]
LOADED += ["transformers:CLIPModel", "transformers:CLIPTokenizer", "transformers:BertModel"]


class ForkServer:
    """A server, and the folder whose `python` asks it; a context."""

    def __init__(self, folder: Path) -> None:
        """Write `python` into `folder`; the server starts with the context."""
        self.folder, self.log = folder, folder / "log"
        self._address = str(folder / "socket")

    def __enter__(self) -> "ForkServer":
        """Start the server and wait until it listens."""
        self.folder.mkdir(parents=True, exist_ok=True)
        client = self.folder / "python"
        client.write_text(CLIENT.format(python=sys.executable, address=self._address))
        client.chmod(0o755)
        self.log.touch()
        command = [sys.executable, __file__, self._address, str(self.log)]
        self._process = subprocess.Popen(command)
        while not Path(self._address).exists():
            assert self._process.poll() is None, "the server ended"
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        """End the server."""
        self._process.terminate()
        self._process.wait()

    def taken(self) -> list[str]:
        """The stages that ran since the last call, by DVC's names for them."""
        stages = self.log.read_text().split()
        self.log.write_text("")
        return stages


def serve(address: str, log: Path) -> None:
    """Answer for ever."""
    for name in LOADED:
        module, _, attribute = name.partition(":")
        loaded = importlib.import_module(module)
        getattr(loaded, attribute or "__name__")
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address + ".new")
        server.listen()
        os.rename(address + ".new", address)
        while True:
            client, _ = server.accept()
            if os.fork() == 0:
                _work(client, log)
            client.close()


def _work(client: socket.socket, log: Path) -> None:
    _, files, _, _ = socket.recv_fds(client, 1, 3)
    text = b""
    while part := client.recv(1 << 16):
        text += part
    job = json.loads(text)
    for number, file in enumerate(files):
        os.dup2(file, number)
    with log.open("a") as out:
        out.write(job["environment"].get("DVC_STAGE", " ".join(job["argv"])) + "\n")
    option, module, *arguments = job["argv"]
    assert option == "-m", job["argv"]
    os.chdir(job["cwd"])
    os.environ.update(job["environment"])
    sys.path[0], sys.argv = job["cwd"], [module, *arguments]
    code = 1
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        client.sendall(str(code).encode())
        os._exit(code)


if __name__ == "__main__":
    serve(sys.argv[1], Path(sys.argv[2]))
