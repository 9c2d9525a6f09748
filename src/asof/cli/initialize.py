"""`asof init`: a small project that works at once."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from asof.cli.session import Session, json_option, pass_session
from asof.clock import iso
from asof.durations import DAY_US, HOUR_US, MINUTE_US
from asof.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

_CUSTOMERS = (("1", "NL"), ("2", "BE"), ("3", "DE"), ("4", "NL"), ("5", "FR"))
_STATUSES = ("settled", "settled", "settled", "refused")
_ORDERS = 60


@dataclass(frozen=True)
class _File:
    """A file of the new project, and whether it was written or left as it was."""

    path: str
    written: bool


@click.command("init")
@click.argument("directory", default=".", type=click.Path(file_okay=False, path_type=Path))
@click.option("--name", default=None, help="The project's name. Default: the directory's.")
@json_option
@pass_session
def command(session: Session, directory: Path, name: str | None) -> None:
    """Start a small project that works.

    Settings, two views, a service, a test of them and a little data. Files that are there already are left as they are.

    \b
        asof init shop
        cd shop && asof apply
    """
    root = directory.resolve()
    made = list(_write_all(root, name or _project_name(root.name), session.clock.now_us()))
    session.emit({"root": str(root), "files": made})
    for file in made:
        session.say(f"  {'wrote' if file.written else 'kept '}  {file.path}", "" if file.written else "dim")
    steps = "asof apply" if root == Path.cwd() else f"cd {directory} && asof apply"
    session.say(f"\nNext: {steps}")


def _write_all(root: Path, name: str, now_us: int) -> Iterator[_File]:
    starter = files("asof.cli") / "starter"
    texts = {
        "asof.toml": f'project = "{name}"\n',
        "features.py": (starter / "features.py").read_text(encoding="utf-8"),
        "test_features.py": (starter / "test_features.py").read_text(encoding="utf-8"),
        "README.md": (starter / "README.md").read_text(encoding="utf-8").replace("PROJECT", name),
        ".gitignore": ".asof/\n.pytest_cache/\n__pycache__/\n",
        "data/customers.csv": _customers(now_us),
        "data/orders.csv": _orders(now_us),
        "data/examples.csv": _examples(now_us),
    }
    for path, text in texts.items():
        yield _File(path, _write(root / path, text))


def _write(path: Path, text: str) -> bool:
    """Write a new file; return whether it was not there before."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        return False
    except OSError as error:
        raise StoreError(f"{path} cannot be written", why=str(error), fix="Choose another directory.") from error
    return True


def _project_name(directory: str) -> str:
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", directory).strip("-")
    return (name if name[:1].isalpha() else f"project-{name}".rstrip("-"))[:64]


def _customers(now_us: int) -> str:
    since = iso((now_us - 90 * DAY_US) // DAY_US * DAY_US)
    return "customer_id,country,since\n" + "".join(f"{key},{country},{since}\n" for key, country in _CUSTOMERS)


def _orders(now_us: int) -> str:
    """Return orders of the last two months, the newest an hour ago, the same ones for the same instant."""
    lines = ["order_id,customer_id,amount,status,ordered_at,loaded_at"]
    for number in range(_ORDERS):
        ordered_us = (now_us - HOUR_US - (_ORDERS - 1 - number) * DAY_US) // MINUTE_US * MINUTE_US
        amount = f"{5 + number * 37 % 190}.{number * 61 % 100:02}"
        status = _STATUSES[number * 7 % 11 % len(_STATUSES)]
        customer = _CUSTOMERS[number * 3 % len(_CUSTOMERS)][0]
        loaded = iso(ordered_us + 10 * MINUTE_US)
        lines.append(f"{number + 1},{customer},{amount},{status},{iso(ordered_us)},{loaded}")
    return "\n".join(lines) + "\n"


def _examples(now_us: int) -> str:
    today_us = now_us // DAY_US * DAY_US
    rows = [(key, iso(today_us - days * DAY_US)) for days in (30, 14, 3) for key, _ in _CUSTOMERS]
    return "customer_id,event_timestamp,churned\n" + "".join(
        f"{key},{at},{'true' if key == '5' else 'false'}\n" for key, at in rows
    )
