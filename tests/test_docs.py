"""The documentation speaks of this tree: links lead somewhere, and what it names exists."""

import re
import subprocess
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import typer
from dotenv import dotenv_values
from pydantic_settings import BaseSettings

from api import app, cli, openapi, problems
from infra import crypto, ids
from infra.errors import Refusal
from infra.settings import PREFIX, Settings
from ingest import devices
from ingest.models import Upload

ROOT = Path(__file__).parent.parent
TRACKED = [
    Path(name)
    for name in subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    if (ROOT / name).exists()
]
PAGES = [path for path in TRACKED if path.suffix == ".md"]
README, ARCHITECTURE, API, RUNBOOK = (
    (ROOT / name).read_text() for name in ("README.md", "docs/architecture.md", "docs/api.md", "docs/runbook.md")
)
CODE = "\n".join(
    (ROOT / path).read_text() for path in TRACKED if path.suffix == ".py" and path.parts[0] not in ("tests", "docs")
)
SETTING = re.compile(rf"^(# )?{PREFIX}(\w+)=(.*)$", re.MULTILINE)


class TestEnvExample:
    """`.env.example` against the settings."""

    text = (ROOT / ".env.example").read_text()

    def test_it_names_every_setting_once_in_their_order(self) -> None:
        assert [name.lower() for _, name, _ in SETTING.findall(self.text)] == list(Settings.model_fields)

    def test_what_must_be_given_is_not_commented_out(self) -> None:
        open_ = {name.lower() for comment, name, _ in SETTING.findall(self.text) if not comment}
        assert open_ == {name for name, field in Settings.model_fields.items() if field.is_required()}

    def test_what_is_commented_out_is_the_default(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for name in Settings.model_fields:
            monkeypatch.delenv(f"{PREFIX}{name.upper()}", raising=False)
        given = self._read(tmp_path, self.text)
        spelt_out = self._read(tmp_path, SETTING.sub(lambda found: found[0].removeprefix("# "), self.text))
        assert spelt_out.model_copy(update=self._empty(spelt_out)) == given

    def test_the_groups_are_those_of_the_settings(self) -> None:
        heading = re.compile(r"^ *# -- (.+?) -+$", re.MULTILINE)
        assert heading.findall(self.text) == heading.findall((ROOT / "infra" / "settings.py").read_text())

    def _read(self, folder: Path, text: str) -> BaseSettings:
        file = folder / "env"
        file.write_text(text)
        assert dotenv_values(file)
        return Settings(_env_file=file)  # type: ignore[call-arg]

    def _empty(self, made: BaseSettings) -> dict[str, None]:
        """A name with nothing behind it stands for None, which an environment cannot say."""
        return {name: None for name, value in made if value == ""}


class TestLinks:
    """Links between the pages."""

    @pytest.mark.parametrize("page", PAGES, ids=str)
    def test_relative_links_lead_somewhere(self, page: Path) -> None:
        for target in _links((ROOT / page).read_text()):
            path, _, place = target.partition("#")
            found = (ROOT / page).parent / path if path else ROOT / page
            assert found.exists(), f"{page}: {target}"
            assert not place or place in _headings(found.read_text()), f"{page}: no heading {target}"

    def test_every_page_is_linked_from_another(self) -> None:
        linked = {
            ((ROOT / page).parent / target.partition("#")[0]).resolve()
            for page in PAGES
            for target in _links((ROOT / page).read_text())
        }
        alone = [str(page) for page in PAGES if (ROOT / page).resolve() not in linked and str(page) != "README.md"]
        assert not alone

    def test_nothing_of_a_machine_or_an_index_stands_in_them(self) -> None:
        for page in [*PAGES, Path(".env.example")]:
            assert not re.search(r"/(work|opt|root|home|tmp)/|pypi\.|simple/", (ROOT / page).read_text()), page


class TestReadme:
    """The map of the house."""

    def test_it_has_every_folder_of_the_top_level_and_no_other(self) -> None:
        shown = set(re.findall(r"^    (\w+)/ ", README, re.MULTILINE))
        assert shown == {path.parts[0] for path in TRACKED if len(path.parts) > 1 and path.parts[0][0] != "."}

    def test_its_make_targets_exist(self) -> None:
        targets = set(re.findall(r"^(\w+):.*## ", (ROOT / "Makefile").read_text(), re.MULTILINE))
        for page in PAGES:
            assert set(re.findall(r"`make (\w+)", (ROOT / page).read_text())) <= targets, page


class TestArchitecture:
    """Files and functions the walk goes through."""

    @pytest.mark.parametrize(
        ("file", "name"), sorted(set(re.findall(r"`(\w+/[\w/]+\.py)(?::([\w.]+))?`", ARCHITECTURE)))
    )
    def test_the_place_exists(self, file: str, name: str) -> None:
        text = (ROOT / file).read_text()
        assert not name or re.search(
            rf"^\s*(def|class|async def) {name}\b|^{name}(: .+)? = |import .*\b{name}$", text, re.M
        )

    def test_every_lifecycle_is_named(self) -> None:
        for path in TRACKED:
            if path.suffix == ".py" and path.parts[0] not in ("tests", "docs"):
                for name in re.findall(r"^(\w+) = lifecycle\(", (ROOT / path).read_text(), re.MULTILINE):
                    assert f"`{path}:{name}`" in ARCHITECTURE

    def test_the_formula_is_that_of_the_feed(self) -> None:
        formula = re.findall(r"^    (?:pay per minute|rank) +=.+$", ARCHITECTURE, re.MULTILINE)
        assert len(formula) == 2
        assert all(line in (ROOT / "jobs" / "feed.py").read_text() for line in formula)

    @pytest.mark.parametrize("page", [page for page in PAGES if page.parts[0] == "docs"], ids=str)
    def test_files_named_elsewhere_exist(self, page: Path) -> None:
        for file, name in re.findall(r"`((?:\w+/)+\w+\.(?:py|yaml|md))(?::(\w+))?`", (ROOT / page).read_text()):
            assert (ROOT / file).exists(), file
            assert not name or re.search(rf"\b{name}\b", (ROOT / file).read_text()), f"{file}:{name}"


class TestApi:
    """The guide for those who call us."""

    def test_its_routes_exist(self) -> None:
        served = {(one.method, re.sub(r"{(\w+):\w+}", r"{\1}", one.path)) for one in openapi.endpoints_of(app.build())}
        named = set(re.findall(r"`(GET|POST|PATCH|PUT|DELETE) (/[^`?…]+)`", API))
        assert len(named) > 12
        assert named <= served

    def test_its_refusals_exist_with_their_status(self) -> None:
        kinds = {kind.code(): problems.status_of(kind) for kind in _refusals(Refusal)}
        kinds |= {"unavailable": 503, "internal-error": 500}
        rows = re.findall(r"^\| (\d{3}) \| (.+?) \|", API, re.MULTILINE)
        named = [(int(status), code) for status, codes in rows for code in re.findall(r"`([\w-]+)`", codes)]
        assert len(named) > 20
        assert [(status, code) for status, code in named if kinds.get(code) != status] == []

    def test_its_frame_is_ours(self) -> None:
        fields: list[bytes | str | int] = [b"\x00\xff", "bü", 7, 2**40, ""]
        assert self._snippets()["frame"]("fw.test.v1", *fields) == crypto.frame("fw.test.v1", *fields)

    @pytest.mark.parametrize("captured", [None, datetime(2026, 11, 21, 9, 30, 0, 123_000, tzinfo=UTC)])
    def test_what_it_signs_is_what_we_verify(self, captured: datetime | None) -> None:
        upload = Upload(id=ids.new(), sha256=b"\x01" * 32, size=12_345, media_type="image/jpeg", captured_at=captured)
        assignment, task = ids.new(), ids.new()
        signed = self._snippets()["submission_frame"](
            (b"\x02" * 32).hex(),
            {"id": ids.show("asg", assignment), "task_id": ids.show("tsk", task)},
            7,
            [
                {
                    "upload_id": ids.show("upl", upload.id),
                    "sha256": upload.sha256.hex(),
                    "size": upload.size,
                    "media_type": upload.media_type,
                    "captured_ms": 0 if captured is None else 1_795_253_400_123,
                }
            ],
        )
        assert signed == devices.statement(
            nonce=b"\x02" * 32, assignment_id=assignment, task_id=task, counter=7, uploads=[upload]
        )

    def _snippets(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for code in re.findall(r"^```python\n(.*?)^```", API, re.MULTILINE | re.DOTALL):
            exec(textwrap.dedent(code), made)
        return made


class TestRunbook:
    """What operators look for."""

    def test_its_metrics_are_all_of_ours(self) -> None:
        named = set(re.findall(r"\b(footwork_\w+)", RUNBOOK))
        assert named == set(re.findall(r'"(footwork_\w+)"', CODE))

    @pytest.mark.parametrize("page", PAGES, ids=str)
    def test_every_command_named_exists(self, page: Path) -> None:
        """`footwork key add …` and the like."""
        for typed in re.findall(r"(?:`|^)footwork ((?:[a-z-]+ ?)+)", (ROOT / page).read_text(), re.MULTILINE):
            group: Any = typer.main.get_command(cli.app)
            for word in typed.split():
                assert word in group.commands, f"footwork {typed}"
                group = group.commands[word]
                if not hasattr(group, "commands"):
                    break

    def test_its_log_lines_exist(self) -> None:
        alerts = next(line for line in RUNBOOK.split("\n\n") if line.startswith("Worth an alert"))
        lines = [line for line in re.findall(r"`([a-z ]+)`", alerts) if " " in line]
        assert len(lines) >= 3
        assert [line for line in lines if f'"{line}"' not in CODE] == []

    def test_it_explains_every_rule_of_the_books(self) -> None:
        rules = re.findall(r'Violation\(\s*"([^"]+)"', CODE)
        assert len(rules) > 8
        assert [rule for rule in rules if rule not in RUNBOOK] == []

    def test_its_settings_exist(self) -> None:
        for page in PAGES:
            named = re.findall(rf"\b{PREFIX}([A-Z0-9_]*[A-Z0-9])\b(?!…)", (ROOT / page).read_text())
            assert [name for name in named if name.lower() not in Settings.model_fields] == [], page


def _links(text: str) -> Iterator[str]:
    text = re.sub(r"^(```.*?^```|    .*?$)", "", text, flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if not re.match(r"\w+:", target):
            yield target


def _headings(text: str) -> set[str]:
    """As anchors: lower case, spaces to hyphens, punctuation gone."""
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    }


def _refusals(kind: type[Refusal]) -> Iterator[type[Refusal]]:
    for child in kind.__subclasses__():
        yield child
        yield from _refusals(child)
