"""A `docker` for the shell commands of docs/operations.md: it hands them to an Engine in the test's own process."""

import json
import os
import shlex
import socket
import sys
import threading
from pathlib import Path

from tests.deploy.engine import Engine, EngineError

PROGRAM = """#!{python}
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
line.sendall(json.dumps([os.getcwd(), *sys.argv[1:]]).encode() + b"\\n")
answer = json.load(line.makefile())
if "shell" in answer:
    os.execvp("sh", ["sh", "-c", answer["shell"]])
sys.stdout.write(answer["text"])
sys.exit(answer["code"])
"""
SUPERUSER = {"DJANGO_SUPERUSER_USERNAME": "admin", "DJANGO_SUPERUSER_PASSWORD": "a password for the tests"}


class Docker:
    """One engine for each folder that a command comes from, made when the folder has what a first start makes.

    `lean` starts only what a command itself needs: database, Redis and migrations. The proxy never starts:
    it would ask Let's Encrypt for a certificate.
    """

    def __init__(self, folder, *, lean, tables):
        self.folder, self.lean, self.engines = folder, lean, {}
        self.tables = tables  # what the first machine's database starts from
        self.bin = folder / "bin"
        self.bin.mkdir(parents=True)
        address = str(folder / "docker.socket")
        (self.bin / "docker").write_text(PROGRAM.format(python=sys.executable, address=address))
        (self.bin / "docker").chmod(0o755)
        (self.bin / "python3").symlink_to(sys.executable)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(address)
        self.listener.listen()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                line, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(line,), daemon=True).start()

    def answer(self, line):
        with line, line.makefile("rw") as file:
            folder, *arguments = json.loads(file.readline())
            try:
                answer = self.do(Path(folder), arguments)
            except Exception as error:  # whatever it is, the command failed
                answer = {"text": f"{type(error).__name__}: {error}\n", "code": 1}
            file.write(json.dumps(answer if isinstance(answer, dict) else {"text": answer or "", "code": 0}))

    def do(self, folder, arguments):
        compose, option, file, verb, *rest = arguments
        if [compose, option, file] != ["compose", "-f", "deploy/compose.yaml"]:
            raise EngineError(f"docker {shlex.join(arguments)}: unknown here")
        return getattr(self, verb)(self.engine(folder), rest)

    def engine(self, folder):
        if folder not in self.engines:
            scratch = self.folder / f"scratch-{len(self.engines)}"
            self.engines[folder] = Engine(folder / "deploy", scratch, None if self.engines else self.tables)
        return self.engines[folder]

    def build(self, _engine, _rest):
        """The linters read the Dockerfile."""

    def up(self, engine, rest):
        names = [name for name in rest if not name.startswith("--")]
        everything = [name for name in engine.services if name != "proxy"]
        engine.up(*(names or (["postgres", "redis", "migrate"] if self.lean else everything)))

    def exec(self, engine, rest):
        service, *command = [word for word in rest if word != "-T"] if rest[0] == "-T" else rest
        return self.run_in(engine, service, command)

    def run(self, engine, rest):
        option, service, *command = rest
        assert option == "--rm"
        return self.run_in(engine, service, command or engine.services[service]["command"])

    def run_in(self, engine, service, command):
        if command[0] != "python" or "simulate_docks" in command:  # it may read standard input, or last
            engine.lay_out(service)
            return {"shell": engine.shell(service, command)}
        if "createsuperuser" in command:  # there is no terminal to ask at
            script = f"import os; os.environ.update({SUPERUSER}); import django; django.setup()\n"
            script += "from django.core.management import call_command; call_command('createsuperuser', '--no-input',"
            script += " email='admin@example.com')"
            command = [
                "python",
                "-c",
                f"import os; os.environ['DJANGO_SETTINGS_MODULE'] = 'cloudapi.settings'\n{script}",
            ]
        code, text = engine.run(service, command)
        return {"text": text, "code": code}

    def restart(self, engine, names):
        if running := [name for name in names if engine.is_running(name)]:
            engine.stop(*running)
            engine.up(*running)

    def kill(self, engine, rest):
        option, number, *names = rest
        assert (option, number) == ("--signal", "HUP")
        for name in filter(engine.is_running, names):
            engine.lay_out(name)
            engine.send(name, 1)

    def stop(self, engine, _rest):
        engine.stop()

    def environment(self):
        return os.environ | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def close(self):
        self.listener.close()
        for engine in self.engines.values():
            engine.close()
