"""What mkdocs.yml can't say: two pages come from the README, and links lead into the repository.

The README is the first page and the tutorial, so that neither text is written twice.
"""

from __future__ import annotations

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PROJECT = Path(__file__).resolve().parents[1]
TUTORIAL = "## Tutorial: "
#: a link to a file of this repository
_LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages that are cut from the README."""
    for name, text in readme_pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001
    """Let links go to the site's pages, or to the repository where the site has no such page."""
    folder = PROJECT if page.file.generated_by else PROJECT / "docs"

    def moved(match: re.Match[str]) -> str:
        path = (folder / match[1]).resolve().relative_to(PROJECT)
        anchor = match[2] or ""
        if path.parts[0] == "docs":
            return f"]({path.relative_to('docs')}{anchor})"
        if str(path) == "README.md":
            return f"]({'tutorial.md' if anchor.startswith('#tutorial') else 'index.md'})"
        return f"]({config.repo_url}/blob/main/{path}{anchor})"

    return _LINK.sub(moved, markdown)


def readme_pages() -> dict[str, str]:
    """The first page and the tutorial, by name."""
    text = (PROJECT / "README.md").read_text(encoding="utf-8")
    before, tutorial = text.split(f"\n{TUTORIAL}", 1)
    tutorial, after = re.split(r"\n(?=## )", tutorial, maxsplit=1)
    # a level up: the heading of the section is the page's own
    raised = re.sub(r"^##(#+ )", r"#\1", tutorial, flags=re.MULTILINE)
    return {
        "index.md": f"{before}\n{after}",
        "tutorial.md": f"# Tutorial: {raised}\n",
    }
