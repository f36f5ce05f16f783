"""The package imports on systems that are not POSIX: what only those have is asked for where it is used, never at import."""

import subprocess
import sys

# Every module is imported once as usual, so that other packages have what they want; then again, with what Windows lacks gone.
CODE = """
import builtins, importlib, os, pkgutil, signal, sys
import nws

modules = [m.name for m in pkgutil.walk_packages(nws.__path__, "nws.") if not m.name.endswith("__main__")]
for module in modules:
    importlib.import_module(module)
compiled = {name for name in sys.modules if name.rpartition(".")[2].startswith("_") and not name.endswith("_")}
for name in [name for name in sys.modules if name.split(".")[0] == "nws" and name not in compiled]:
    del sys.modules[name]
for name in (
    "fork", "forkpty", "getuid", "geteuid", "getgid", "register_at_fork", "sched_getaffinity", "uname", "mkfifo", "O_NOFOLLOW",
    "O_DIRECTORY", "O_NONBLOCK", "pread", "getpgid", "killpg", "setsid", "statvfs", "sysconf", "WNOHANG",
):
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGUSR1", "SIGUSR2", "SIGHUP", "SIGKILL", "SIGCHLD", "SIGQUIT", "SIGALRM", "SIGTSTP", "pthread_sigmask", "setitimer"):
    if hasattr(signal, name):
        delattr(signal, name)
ask = builtins.__import__

def only_what_windows_has(name, globals=None, *rest):
    if name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "syslog", "readline", "curses"):
        if (globals or {}).get("__name__", "").split(".")[0] == "nws":
            raise ModuleNotFoundError(f"{globals['__name__']} imports {name}, which only POSIX has", name=name)
    return ask(name, globals, *rest)

builtins.__import__ = only_what_windows_has
for module in modules:
    if module not in compiled:
        importlib.import_module(module)
print(len(modules))
"""


def test_every_module_imports_without_what_only_posix_has():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr.splitlines()[-1]
    assert int(done.stdout) > 100
