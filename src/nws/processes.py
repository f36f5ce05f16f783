"""Processes of one thread each that do one task after another. One may die: what it was at is tried again, or given up."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pickle
import signal
import sys
import threading
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any

from nws import threads
from nws.errors import NwsError

_STARTS = 3  # workers in a row that die before they are ready: then no other will be
_NO_MEMORY = 75  # exit code of a worker that was refused memory

OnProgress = Callable[[Any], None]


@dataclass(frozen=True)
class Task:
    """function(state, *arguments, on_progress), in a worker; all of it is pickled. The parent receives what `on_progress` is given.

    needs   names of what `Pool.lend` holds: given to a worker once, before its first task that needs it
    """

    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    needs: tuple[Hashable, ...] = ()


@dataclass(frozen=True)
class Lost:
    """A task whose worker died too often, and why in a few words."""

    why: str


def preloading(modules: Sequence[str]) -> Any:
    """A context whose workers have imported these modules already, the first import beginning now, beside what the caller does.

    Importing PyTorch and scikit-learn takes each worker two seconds; a copy of a process that has them takes none. Only where the
    system can do that, and for the first modules that a process asks for; else workers are started from nothing.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(list(modules))
    with ExitStack() as stack:
        stack.enter_context(_script_out_of_sight())
        stack.enter_context(_interrupts_held())
        stack.enter_context(threads.for_children(threads.chosen_by_user() or 1))
        forkserver.ensure_running()
    return context


class Pool:
    """`workers` processes, started when they are first asked for, that live until `close`.

    prepare   called once in each worker: what it returns is the `state` of all its tasks
    tries     of a task whose worker dies
    preload   modules that all workers need: imported once, by a process of one thread that workers are copied from (`preloading`)
    """

    def __init__(self, workers: int, prepare: Callable[[], Any], tries: int = 1, preload: Sequence[str] = ()):
        self.workers, self.prepare, self.tries = workers, prepare, tries
        # Fork would copy a process whose threads hold locks.
        self.context: Any = preloading(preload) if preload else multiprocessing.get_context("spawn")
        self.started: dict[Connection, Any] = {}  # -> process
        self.ready: set[Connection] = set()
        self.lent: dict[Hashable, tuple[Callable[..., Any], tuple[Any, ...]]] = {}
        self.has: dict[Connection, set[Hashable]] = {}
        self.failed_starts = 0

    def lend(self, name: Hashable, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
        """function(state, *arguments) is called in every worker that gets a task which needs `name`."""
        self.lent.setdefault(name, (function, arguments))

    def run(
        self,
        tasks: Iterable[Task],
        on_progress: Callable[[int, Any], None] = lambda task, message: None,
        meanwhile: Callable[[Task], Any] | None = None,
        all_ready: Callable[[], None] = lambda: None,
    ) -> Iterator[tuple[int, Any]]:
        """(position of the task, what its function returned or `Lost`) as each is done, in any order.

        tasks        asked for the next one when a worker is free for it
        on_progress  receives (position, what the task passed on)
        meanwhile   does a task in this process while no worker is ready yet
        all_ready   called when there is no worker that has not started up

        An exception of a task is raised here; lack of memory and signals end a worker, and others go on. Closing the iterator, or
        an exception, ends all workers; NwsError when none can be started.
        """
        run = _Run(self, tasks, on_progress, all_ready)
        try:
            while run.more() or run.busy:
                run.hire()
                alone = meanwhile is not None and run.waiting and not self.ready
                for connection in wait(list(self.started), 0 if alone else None):
                    assert isinstance(connection, Connection)
                    if (made := run.answer(connection)) is not None:
                        yield made
                if meanwhile is not None and run.waiting and not self.ready:
                    at = run.waiting.pop()
                    yield at, meanwhile(run.tasks[at])
        except BaseException as ended:
            if run.waiting or run.busy or not isinstance(ended, GeneratorExit):  # else all was done, and nobody asked for an end
                self.close()
            raise

    def start(self) -> Connection:
        ours, theirs = self.context.Pipe()
        process = self.context.Process(target=_work, args=(theirs, self.prepare, self.threads), daemon=True)
        with ExitStack() as stack:
            stack.enter_context(_script_out_of_sight())
            stack.enter_context(_interrupts_held())
            stack.enter_context(threads.for_children(self.threads))
            process.start()
        theirs.close()  # so that a dead worker is an end of file here
        self.started[ours], self.has[ours] = process, set()
        return ours

    @property
    def threads(self) -> int:
        """As many as this process would use: sums of floats depend on their number."""
        return threads.chosen_by_user() or 1

    def forget(self, connection: Connection) -> Any:
        """A worker that is gone; returns its exit code."""
        process = self.started.pop(connection)
        self.ready.discard(connection)
        del self.has[connection]
        connection.close()
        process.join()
        return process.exitcode

    def close(self) -> None:
        for process in self.started.values():
            process.terminate()
        for connection in list(self.started):
            self.forget(connection)


class _Run:
    """The tasks of one `Pool.run`."""

    def __init__(self, pool: Pool, tasks: Iterable[Task], on_progress: Callable[[int, Any], None], all_ready: Callable[[], None]):
        self.pool, self.coming, self.on_progress, self.all_ready = pool, iter(tasks), on_progress, all_ready
        self.tasks: list[Task] = []
        self.waiting: list[int] = []  # positions; the last one is next
        self.busy: dict[Connection, int] = {}
        self.deaths: Counter[int] = Counter()

    def more(self) -> bool:
        """Whether a task waits, once there is one for every worker without, as far as there are so many."""
        for task in itertools.islice(self.coming, max(0, self.pool.workers - len(self.busy) - len(self.waiting))):
            self.waiting.insert(0, len(self.tasks))
            self.tasks.append(task)
        return bool(self.waiting)

    def hire(self) -> None:
        """A worker for every waiting task, as far as the pool may have so many; those that are ready get one each."""
        idle = [c for c in self.pool.ready if c not in self.busy]
        for connection in idle[: len(self.waiting)]:
            self._send(connection)
        starting = len(self.pool.started) - len(self.pool.ready)
        for _ in range(min(self.pool.workers - len(self.pool.started), len(self.waiting) - starting)):
            self.pool.start()

    def _send(self, connection: Connection) -> None:
        at = self.waiting.pop()
        self.busy[connection] = at
        try:
            for name in self.tasks[at].needs:
                if name not in self.pool.has[connection]:
                    connection.send((None, *self.pool.lent[name]))
                    self.pool.has[connection].add(name)
            connection.send((True, self.tasks[at].function, self.tasks[at].arguments))
        except OSError:  # it died since: then its connection ends, and that is seen like any other death
            pass

    def answer(self, connection: Connection) -> tuple[int, Any] | None:
        """What a worker has to say, or its end."""
        try:
            kind, message = connection.recv()
        except (EOFError, OSError):  # OSError: in the middle of a message
            return self._died(connection)
        if kind == "progress":
            self.on_progress(self.busy[connection], message)
            return None
        if kind == "failed":
            raise message
        if kind == "ready":
            self.pool.ready.add(connection)
            self.pool.failed_starts = 0
            if len(self.pool.ready) == len(self.pool.started):
                self.all_ready()
            return None
        return self.busy.pop(connection), message

    def _died(self, connection: Connection) -> tuple[int, Lost] | None:
        started, at = connection in self.pool.ready, self.busy.pop(connection, None)
        code = self.pool.forget(connection)
        why = "memory ran out" if code == _NO_MEMORY else f"exit code {code}"
        if not started:
            self.pool.failed_starts += 1
            if self.pool.failed_starts >= _STARTS:
                raise NwsError(
                    f"{_STARTS} workers died while starting ({why}): was memory short? What was finished is kept; the same command "
                    "goes on from there, if need be with fewer --workers"
                )
        elif at is not None:
            self.deaths[at] += 1
            if self.deaths[at] >= self.pool.tries:
                return at, Lost(f"its worker died {self.pool.tries} times, {why}" if self.pool.tries > 1 else why)
            self.waiting.insert(0, at)  # last of all: by then fewer workers share the memory
        return None


def refuse_what_cannot_be_sent(value: Any, what: str) -> None:
    """NwsError unless a worker could be given `value`."""
    try:
        sent = pickle.dumps(value)
    except Exception as error:  # whatever a user's object raises
        raise NwsError(f"{what} cannot be given to workers ({type(error).__name__}): use workers=1") from None
    if b"__main__" in sent:
        raise NwsError(f"{what} is defined in the script itself, which workers do not run: use workers=1, or define it in a module")


@contextmanager
def _script_out_of_sight() -> Iterator[None]:
    """A process that is spawned runs its parent's script first, to know what it defines. Ours need nothing of it, and a script
    without `if __name__ == "__main__":` would start workers in every worker; one piped into python has no file to run."""
    script = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = script


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C while a worker still imports would print its traceback: it is born with the signal held back."""
    if not hasattr(signal, "pthread_sigmask") or threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, prepare: Callable[[], Any], number: int) -> None:
    """A worker's life: prepare, then one task after another until the parent hangs up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair; it ends us
    try:
        state = prepare()
        torch = sys.modules.get("torch")
        if torch is not None and torch.get_num_threads() != number:
            torch.set_num_threads(number)
        connection.send(("ready", None))
        while True:
            answered, function, arguments = connection.recv()
            if answered:
                connection.send(("done", function(state, *arguments, lambda message: connection.send(("progress", message)))))
            else:
                function(state, *arguments)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone or done
    except Exception as error:
        if isinstance(error, MemoryError) or "allocate memory" in str(error):  # PyTorch says it with a RuntimeError
            os._exit(_NO_MEMORY)  # at once: without memory nothing more can be relied on
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            error = RuntimeError(f"{type(error).__name__}: {error}")
        connection.send(("failed", error))
