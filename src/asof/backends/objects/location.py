"""Where objects are: a prefix of a bucket, a client that is made at the first request, copies on this disk."""

from __future__ import annotations

import hashlib
import os
import shutil
import threading
import time
import uuid
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from asof.backends.objects.faults import explained
from asof.errors import ConfigError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TIMEOUT_S = 120.0
"""How long one request may take, which may carry a file of 128 MB."""
CONNECT_TIMEOUT_S = 5.0
RETRIES = 4
RETRY_FOR_S = 30.0
KEPT_S = 24 * 3600.0
"""How long a copy is kept that nobody reads."""
_SWEEP_S = 600.0


class Location:
    """A prefix of a bucket. Safe to share between threads, and to send to another process.

    Attributes:
        url: Its URL, without a slash at the end.
    """

    def __init__(self, url: str, cache: Path) -> None:
        """Use the objects below `url`, copies of which are kept in `cache`."""
        self.url = url
        self._cache = cache
        self._reset()

    @classmethod
    def parse(cls, url: str, cache: Path) -> Location:
        """Check a URL.

        Raises:
            ConfigError: it names no bucket, or has more in it than a bucket and a prefix.
        """
        parts = urlsplit(url)
        if not parts.netloc or "@" in parts.netloc or parts.query or parts.fragment:
            raise ConfigError(
                f"{url!r} is not a bucket and a prefix",
                why="Keys, endpoint and region come from the environment, as AWS_ACCESS_KEY_ID and AWS_ENDPOINT_URL",
                fix=f'Write "{parts.scheme}://bucket/prefix".',
            )
        return cls(url.rstrip("/"), cache)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._store: Any = None
        self._swept_s = 0.0

    def __getstate__(self) -> tuple[str, Path]:
        return self.url, self._cache

    def __setstate__(self, state: tuple[str, Path]) -> None:
        self.url, self._cache = state
        self._reset()

    @property
    def store(self) -> Any:
        """The client. The first time it asks for a list, so that a wrong name or key is told as what it is.

        Raises:
            ConfigError: the client library is not installed, or the bucket is not there.
            StoreError: it does not answer, or refuses.
        """
        _refuse_fork(self.url)
        with self._lock:
            if self._store is None:
                store = _open(self.url)
                import obstore

                with explained(self.url):
                    next(iter(obstore.list(store, chunk_size=1)), None)
                self._store = store
            return self._store

    def copy(self, key: str, tag: str, write: Callable[[Path], object]) -> Path:
        """Return the copy of an object that has a tag; `write` makes it where there is none yet."""
        digest = hashlib.sha256(f"{self.url}\0{key}\0{tag}".encode()).hexdigest()[:32]
        *folders, name = f"{self.url}/{key}".split("/")
        target = self._cache.joinpath(digest, *(one for one in folders if "=" in one), name)  # which may be columns
        try:
            os.utime(target)
        except FileNotFoundError:
            self._sweep()
            with self.scratch() as folder:
                write(folder / target.name)
                target.parent.mkdir(parents=True, exist_ok=True)
                (folder / target.name).replace(target)
        return target

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Give an empty folder on this disk that is deleted when the block ends."""
        folder = self._cache / f".{os.getpid()}-{uuid.uuid4().hex}"
        folder.mkdir(parents=True)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _sweep(self) -> None:
        """Delete copies that nobody read for a day, and what processes left behind that died."""
        now_s = time.time()
        if now_s - self._swept_s < _SWEEP_S or not self._cache.is_dir():
            return
        self._swept_s = now_s
        for folder in self._cache.iterdir():
            try:
                newest = max((path.stat().st_mtime for path in folder.rglob("*")), default=folder.stat().st_mtime)
            except (FileNotFoundError, NotADirectoryError):
                continue
            if now_s - newest > KEPT_S:
                shutil.rmtree(folder, ignore_errors=True)


_used_in: set[int] = set()


def _refuse_fork(url: str) -> None:
    """Refuse to hang: the client's threads are its process's, and are not there in a copy of it."""
    if _used_in and os.getpid() not in _used_in:
        raise StoreError(
            f"{url} cannot be used in a process that was forked from one that used object storage",
            why="The client's threads do not survive a fork",
            fix='Start processes afresh: multiprocessing.get_context("spawn"), or multiprocessing_context="spawn".',
        )
    _used_in.add(os.getpid())


def _open(url: str) -> Any:
    try:
        from obstore.exceptions import BaseError
        from obstore.store import from_url
    except ImportError as error:
        raise ConfigError(
            f"The client of {url} is not installed", why=str(error), fix="pip install 'asof[objects]'"
        ) from error
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    options: dict[str, Any] = {"endpoint": endpoint} if endpoint and url.startswith("s3://") else {}
    plain = endpoint.startswith("http://") or os.environ.get("AZURE_STORAGE_USE_EMULATOR", "").lower() == "true"
    try:
        return from_url(
            url,
            client_options={
                "timeout": timedelta(seconds=TIMEOUT_S),
                "connect_timeout": timedelta(seconds=CONNECT_TIMEOUT_S),
                **({"allow_http": True} if plain else {}),
            },
            retry_config={
                "max_retries": RETRIES,
                "retry_timeout": timedelta(seconds=RETRY_FOR_S),
                "backoff": {"init_backoff": timedelta(seconds=0.1), "max_backoff": timedelta(seconds=3), "base": 2},
            },
            **options,
        )
    except (BaseError, ValueError) as error:
        raise ConfigError(
            f"{url!r} cannot be used",
            why=str(error).splitlines()[0],
            fix='Write "s3://bucket/prefix", "gs://bucket/prefix" or "az://container/prefix".',
        ) from error
