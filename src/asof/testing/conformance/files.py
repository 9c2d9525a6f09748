"""What every place for the project's files must do: subclass, and give the fixture."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from asof.errors import ConflictError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from asof.interfaces import Files, FolderShelf, OfflinePlace


def saying(text: str) -> Callable[[Path], object]:
    """Return what writes a file with a text."""
    return lambda path: path.write_text(text, encoding="utf-8")


def said(files: Files, name: str) -> str | None:
    """Return the text of a file, None where it is not there."""
    found = files.find(name)
    return None if found is None else files.fetch(found).read_text(encoding="utf-8")


def held(shelf: FolderShelf, name: str) -> dict[str, str]:
    """Return the texts of the files of a folder."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted(shelf.path(name).iterdir())}


class OfflinePlaceConformance:
    """Tests of `OfflinePlace`, `Files` and `FolderShelf`; a subclass gives the fixture `open_offline`."""

    @pytest.fixture
    def open_offline(self) -> Callable[[], OfflinePlace]:
        """Return what opens an empty place, each time anew."""
        raise NotImplementedError

    @pytest.fixture
    def files(self, open_offline: Callable[[], OfflinePlace]) -> Files:
        """Return a folder."""
        return open_offline().files("log")

    @pytest.fixture
    def shelf(self, open_offline: Callable[[], OfflinePlace]) -> FolderShelf:
        """Return a shelf."""
        return open_offline().shelf("sets")

    def test_what_was_never_written_is_empty(self, files: Files) -> None:
        """No folder has to be made first."""
        assert files.items() == []
        assert files.folders() == []
        assert files.find("a") is None
        files.delete(["a"])
        files.tidy()

    def test_files_are_listed_by_name_without_dots_and_folders(self, files: Files) -> None:
        """As are the folders, with what is in them."""
        for name in ("b", "a b", "ä%", ".hidden"):
            files.create(name, saying(name))
        files.below("one@1").create("x", saying("x"))
        files.below("two").below("three").create("y", saying("y"))
        assert [item.name for item in files.items()] == ["a b", "b", "ä%"]
        assert [item.size_bytes for item in files.items()] == [3, 1, 3]
        assert files.folders() == ["one@1", "two"]
        assert said(files, ".hidden") == ".hidden"
        assert said(files.below("one@1"), "x") == "x"
        assert said(files.beside("log").below("two/three"), "y") == "y"
        assert files.place("b").endswith("log/b")

    def test_a_list_tells_what_a_file_itself_does(self, files: Files) -> None:
        """So that a list is enough to read by."""
        files.create("a", saying("a"))
        assert files.items() == [files.find("a")]

    def test_a_name_is_taken_once(self, files: Files) -> None:
        """The second try changes nothing."""
        files.create("a", saying("first"))
        with pytest.raises(FileExistsError):
            files.create("a", saying("second"))
        assert said(files, "a") == "first"

    def test_of_many_who_add_a_name_one_succeeds(self, open_offline: Callable[[], OfflinePlace]) -> None:
        """And what is there is what that one wrote."""

        def add(writer: int) -> bool:
            try:
                open_offline().files("log").create(f"{turn}", saying(f"{writer}"))
            except FileExistsError:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            for turn in range(10):
                won = [writer for writer, success in enumerate(pool.map(add, range(4))) if success]
                assert [said(open_offline().files("log"), f"{turn}")] == [f"{writer}" for writer in won]

    def test_another_file_in_a_place_has_another_tag(self, files: Files) -> None:
        """And who asks anew reads it."""
        files.replace("a", saying("one"))
        before = files.find("a")
        files.replace("a", saying("two"))
        after = files.find("a")
        assert before is not None
        assert after is not None
        assert before.tag != after.tag
        assert said(files, "a") == "two"

    def test_who_fails_while_writing_changes_nothing(self, files: Files) -> None:
        """Neither what was there nor what was not."""

        def fail(path: Path) -> None:
            path.write_bytes(b"half")
            raise KeyError

        files.replace("a", saying("whole"))
        for name, add in (("a", files.replace), ("b", files.create)):
            with pytest.raises(KeyError):
                add(name, fail)
        assert [item.name for item in files.items()] == ["a"]
        assert said(files, "a") == "whole"

    def test_a_folder_goes_with_its_files_and_may_come_again(self, files: Files) -> None:
        """Its name is free at once."""
        folder = files.below("old")
        for name in ("a", "b"):
            folder.create(name, saying(name))
        files.remove_folder("old")
        assert (files.folders(), folder.items()) == ([], [])
        folder.create("c", saying("c"))
        assert [item.name for item in folder.items()] == ["c"]

    def test_it_goes_to_another_process(self, open_offline: Callable[[], OfflinePlace]) -> None:
        """As learning libraries send training sets to their workers."""
        shelf = open_offline().shelf("sets")
        with shelf.adding("a") as folder:
            (folder / "data").write_text("rows", encoding="utf-8")
        assert held(pickle.loads(pickle.dumps(shelf)), "a") == {"data": "rows"}  # noqa: S301 - its own

    def test_a_shelf_holds_folders_whole(self, shelf: FolderShelf) -> None:
        """A folder is there when its block has ended, and not if it failed."""
        assert shelf.names() == []
        with shelf.adding("b") as folder:
            (folder / "data").write_text("rows", encoding="utf-8")
            (folder / "manifest").write_text("what", encoding="utf-8")
            assert shelf.names() == []

        def fail() -> None:
            with shelf.adding("a") as folder:
                (folder / "data").write_text("half", encoding="utf-8")
                raise KeyError

        with pytest.raises(KeyError):
            fail()
        assert shelf.names() == ["b"]
        assert held(shelf, "b") == {"data": "rows", "manifest": "what"}
        assert shelf.file("b", "manifest").read_text(encoding="utf-8") == "what"
        assert not shelf.path("a").exists()
        assert not shelf.file("b", "other").exists()

    def test_a_name_on_a_shelf_is_taken_once(self, shelf: FolderShelf) -> None:
        """Also by who was faster while it was filled."""

        def add(text: str, before: Callable[[], object]) -> None:
            with shelf.adding("a") as folder:
                (folder / "data").write_text(text, encoding="utf-8")
                before()

        with pytest.raises(ConflictError):
            add("slow", lambda: add("fast", bool))
        with pytest.raises(ConflictError), shelf.adding("a"):
            pass
        assert held(shelf, "a") == {"data": "fast"}

    def test_files_of_a_folder_are_replaced(self, shelf: FolderShelf) -> None:
        """The others stay."""
        with shelf.adding("a") as folder:
            (folder / "data").write_text("old", encoding="utf-8")
            (folder / "spine").write_text("spine", encoding="utf-8")
        with shelf.working("a") as folder:
            (folder / "data").write_text("new", encoding="utf-8")
            shelf.replace("a", [folder / "data"])
        assert held(shelf, "a") == {"data": "new", "spine": "spine"}
        assert shelf.names() == ["a"]

    def test_a_removed_folder_is_gone_and_its_name_free(self, shelf: FolderShelf) -> None:
        """Another one may take it."""
        for text in ("one", "two"):
            with shelf.adding("a") as folder:
                (folder / "data").write_text(text, encoding="utf-8")
            assert held(shelf, "a") == {"data": text}
            shelf.remove("a")
            assert shelf.names() == []
