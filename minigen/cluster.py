"""The same function on many machines, by Dask: calls go out, results come back.

A call may be lost with the worker that has it. Then it is made again elsewhere: what is
called must give the same wherever it is called, and however often.
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any

from minigen import extras
from minigen.checks import shown
from minigen.errors import BackendError, InputError
from minigen.threads import available

LOSSES = 5
"""Times that a call is sent out again after Dask gave it up. Each of them stands for
several workers that ended while they had it: perhaps it is the call that ends them."""

PATIENCE = 60
"""Seconds to wait for a scheduler, and for its first worker."""

AHEAD = 2
"""Calls for each thread of a worker: one that runs, and one that waits."""


def check_address(address: str) -> str:
    """Return the address of a scheduler, or local:N; or raise InputError.

    Raises BackendError if Dask is not installed.

    >>> check_address("local:many")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    minigen.errors.InputError: cluster 'local:many' is no address; write local:4 ...
    """
    is_local = re.fullmatch("local:[1-9][0-9]{0,3}", address)
    is_remote = re.fullmatch(r"(\w+://)?[\w.\[\]:-]+:[0-9]+", address)
    if not is_local and (address.startswith("local") or not is_remote):
        raise InputError(
            f"cluster {shown(address)} is no address; write local:4 for four workers "
            "on this machine, or that of a scheduler, such as tcp://10.0.0.5:8786"
        )
    if importlib.util.find_spec("distributed") is None:
        raise BackendError(
            f"a cluster needs Dask, which is not installed: {extras.install('cluster')}"
        )
    return address


def mapped(
    address: str, function: Callable[..., Any], calls: Iterable[tuple]
) -> Iterator[tuple[tuple, Any]]:
    """Call a function with each tuple of arguments; yield (arguments, result).

    They come in the order in which they are done. Few calls are sent out at a time.
    Raises what the function raises, InputError if there is no scheduler or worker, or a
    call ended several of them, and BackendError if Dask is not installed.
    """
    with connected(address) as client:
        from distributed import KilledWorker, as_completed

        calls, sent = iter(calls), {}
        done = as_completed()

        def send(call, losses=0):
            future = client.submit(function, *call, pure=False)
            sent[future] = call, losses
            done.add(future)

        def send_more():
            threads = sum(client.nthreads().values())
            while len(sent) < AHEAD * max(threads, 1):
                call = next(calls, None)
                if call is None:
                    return
                send(call)

        send_more()
        for future in done:
            call, losses = sent.pop(future)
            try:
                result = future.result()
            except KilledWorker as error:
                if losses == LOSSES:
                    raise InputError(
                        "several workers ended, one after the other, at the same "
                        f"images: {error}; give them more memory, or each fewer images "
                        "together (--batch)"
                    ) from None
                send(call, losses + 1)
                continue
            except (CancelledError, OSError) as error:
                raise InputError(
                    f"the scheduler at {address} is gone: {error}; start it, and go on "
                    "with the same command"
                ) from None
            send_more()
            yield call, result


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Yield a client of Dask with a worker at least, for the length of the block."""
    address = check_address(address)
    import distributed

    if not address.startswith("local:"):
        try:
            client = distributed.Client(address, timeout=PATIENCE)
        except OSError as error:
            raise InputError(
                f"no scheduler answers at {address}: {error}; start one with `dask "
                "scheduler`, and workers with `dask worker ADDRESS`"
            ) from None
        with client:
            try:
                client.wait_for_workers(1, timeout=PATIENCE)
            except TimeoutError:
                raise InputError(
                    f"the scheduler at {address} has no workers; start some with `dask "
                    f"worker {address}`"
                ) from None
            yield client
        return
    count = int(address.removeprefix("local:"))
    threads = str(max(1, available() // count))
    try:
        workers = distributed.LocalCluster(
            n_workers=count, threads_per_worker=1, memory_limit=0,
            dashboard_address=None, silence_logs="CRITICAL",
            env={"NUMBA_NUM_THREADS": threads},
        )  # fmt: skip
    except RuntimeError as error:
        raise BackendError(
            f"{count} workers could not be started: {error.__cause__ or error}; ask "
            "for fewer, or draw without a cluster"
        ) from None
    with workers, distributed.Client(workers) as client:
        yield client
