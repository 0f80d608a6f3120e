"""The Korean and English catalogues are complete and consistent."""

import ast
import re
import shutil
import subprocess
import sys
from pathlib import Path

import polib
import pytest

from tests.live import ROOT

CATALOGUES = sorted(
    path.relative_to(ROOT)
    for folder in ("accounts", "agents", "rooms", "platform")
    for path in (ROOT / folder).glob("**/locale/*/LC_MESSAGES/*.po")
)
# Names and format examples are the same in both languages.
SAME_IN_KOREAN = {"Maru"}


def untranslated(catalogue: polib.POFile) -> list[str]:
    return [entry.msgid for entry in catalogue if not entry.translated() or entry.fuzzy]


def placeholders(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[sd]|%[sd]|%%", text))


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_no_message_is_untranslated(path: Path) -> None:
    assert untranslated(polib.pofile(str(ROOT / path))) == []


def test_untranslated_message_is_found() -> None:
    """Control: an empty, a fuzzy and a partly translated message are found."""
    catalogue = polib.POFile()
    catalogue.append(polib.POEntry(msgid="done", msgstr="다 됨"))
    catalogue.append(polib.POEntry(msgid="empty", msgstr=""))
    catalogue.append(polib.POEntry(msgid="unsure", msgstr="글쎄", flags=["fuzzy"]))
    catalogue.append(polib.POEntry(msgid="one", msgid_plural="many", msgstr_plural={0: ""}))

    assert untranslated(catalogue) == ["empty", "unsure", "one"]


def conflicts(catalogues: list[polib.POFile]) -> set[str]:
    """Return the messages that catalogues translate differently: Django uses only one of them."""
    found: dict[tuple[str | None, str], set[str]] = {}
    for entry in (entry for catalogue in catalogues for entry in catalogue):
        words = entry.msgstr or str(entry.msgstr_plural)
        found.setdefault((entry.msgctxt, entry.msgid), set()).add(words)
    return {msgid for (_context, msgid), words in found.items() if len(words) > 1}


@pytest.mark.parametrize("domain", ["django", "djangojs"])
def test_catalogues_agree_on_a_message(domain: str) -> None:
    paths = [path for path in CATALOGUES if path.parts[-3] == "ko" and path.stem == domain]

    assert conflicts([polib.pofile(str(ROOT / path)) for path in paths]) == set()


def test_message_with_two_translations_is_found() -> None:
    """Control: the same message with another context is another message."""
    first, second = polib.POFile(), polib.POFile()
    first.append(polib.POEntry(msgid="Remove", msgstr="제거"))
    second.append(polib.POEntry(msgid="Remove", msgstr="내보내기"))
    second.append(polib.POEntry(msgid="Go", msgctxt="a move", msgstr="이동"))
    first.append(polib.POEntry(msgid="Go", msgstr="가기"))

    assert conflicts([first, second]) == {"Remove"}


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_translations_keep_their_placeholders(path: Path) -> None:
    for entry in polib.pofile(str(ROOT / path)):
        plural = entry.msgstr_plural.get(max(entry.msgstr_plural, default=0), "")
        translation = entry.msgstr or plural
        allowed = {tuple(placeholders(entry.msgid)), tuple(placeholders(entry.msgid_plural))}
        assert tuple(placeholders(translation)) in allowed, entry.msgid


def with_raw_particles(catalogue: polib.POFile, root: Path) -> set[str]:
    """Return the messages whose translation has a particle in both forms that nothing chooses from.

    Only `accounts.particles` chooses: templates do not, and neither does `%`.
    """
    found = set()
    for entry in catalogue:
        words = " ".join([entry.msgstr, *entry.msgstr_plural.values()])
        if not re.search(r"\)s(?:이\(가\)|은\(는\)|을\(를\)|과\(와\)|\(으\)로|\(이\))", words):
            continue
        for path, _line in entry.occurrences:
            in_template = path.endswith((".html", ".txt"))
            if in_template or entry.msgid in formatted_by_percent(root / path):
                found.add(entry.msgid)
    return found


def formatted_by_percent(path: Path) -> set[str]:
    """Return the messages of a Python file that `%` formats where they are translated."""
    if path.suffix != ".py":
        return set()
    return {
        argument.value
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod)
        if isinstance(node.left, ast.Call)
        for argument in node.left.args
        if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    }


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_particles_are_chosen(path: Path) -> None:
    assert with_raw_particles(polib.pofile(str(ROOT / path)), ROOT) == set()


def test_raw_particle_is_found(tmp_path: Path) -> None:
    """Control: `fill` chooses a particle, and a template and `%` do not."""
    (tmp_path / "a.py").write_text('fill(_("%(a)s in"), v), _("%(a)s out") % v')
    catalogue = polib.POFile()
    for msgid, place in (("%(a)s in", "a.py"), ("%(a)s out", "a.py"), ("%(a)s here", "a.html")):
        catalogue.append(
            polib.POEntry(msgid=msgid, msgstr="%(a)s이(가)", occurrences=[(place, "")])
        )

    assert with_raw_particles(catalogue, tmp_path) == {"%(a)s out", "%(a)s here"}


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_korean_translations_contain_hangul(path: Path) -> None:
    if path.parts[-3] != "ko":
        return
    for entry in polib.pofile(str(ROOT / path)):
        words = [entry.msgstr, *entry.msgstr_plural.values()]
        plain = re.sub(r"%\(\w+\)[sd]", "", entry.msgid)
        if re.search("[A-Za-z]{3}", plain) and entry.msgid not in SAME_IN_KOREAN:
            assert any(re.search("[가-힣]", word) for word in words), entry.msgid


@pytest.mark.parametrize("path", CATALOGUES, ids=str)
def test_compiled_catalogue_is_up_to_date(path: Path) -> None:
    written = polib.pofile(str(ROOT / path))
    compiled = polib.mofile(str((ROOT / path).with_suffix(".mo")))

    def words(catalogue: list[polib.POEntry]) -> dict[object, object]:
        return {(e.msgctxt, e.msgid): e.msgstr or e.msgstr_plural for e in catalogue}

    assert words(compiled) == words(written)


@pytest.mark.skipif(not shutil.which("xgettext"), reason="gettext is not installed")
def test_every_string_of_the_code_is_in_a_catalogue(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    ignored = shutil.ignore_patterns(".venv", ".git", "var", "tests", "__pycache__", "*.egg-info")
    shutil.copytree(ROOT, copy, ignore=ignored)

    subprocess.run([sys.executable, "manage.py", "messages"], cwd=copy, check=True)

    for path in CATALOGUES:
        committed, extracted = polib.pofile(str(ROOT / path)), polib.pofile(str(copy / path))
        assert {e.msgid for e in extracted} == {e.msgid for e in committed}, path
