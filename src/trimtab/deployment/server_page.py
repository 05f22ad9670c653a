"""The page at ``/``: one HTML file that holds its script and style, and the few facts about the model that it shows.

The facts go in as JSON and come out as text, never as markup; a browser is told to run nothing but the page's own
script and to load nothing from anywhere else.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from trimtab.deployment.server_check import table_columns

if TYPE_CHECKING:
    from trimtab.deployment.predictor import Predictor

PLACE = '<script type="application/json" id="facts">null</script>'


def render_page(predictor: Predictor) -> tuple[str, str]:
    """Return the page's HTML and the Content-Security-Policy that belongs to it."""
    template = Path(__file__).with_name("page.html").read_text(encoding="utf-8")
    # "<" would let a class name end the element that holds it.
    facts = json.dumps(page_facts(predictor.manifest), ensure_ascii=False, allow_nan=False).replace("<", "\\u003c")
    return template.replace(PLACE, PLACE.replace("null", facts)), _policy(template)


def page_facts(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the page shows of a manifest: name, kind, classes, headline accuracy, size, columns of a table."""
    return {
        "name": manifest["name"],
        "kind": manifest["kind"],
        "class_names": list(manifest["class_names"]),
        "accuracy": manifest.get("metrics", {}).get("accuracy"),
        "megabytes": manifest.get("cost", {}).get("megabytes"),
        "columns": table_columns(manifest) if manifest["kind"] == "table" else [],
    }


def _policy(template: str) -> str:
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {_hash_of('script', template)}",
            f"style-src {_hash_of('style', template)}",
            "img-src blob: data:",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )


def _hash_of(element: str, template: str) -> str:
    (content,) = re.findall(f"<{element}>(.*?)</{element}>", template, flags=re.DOTALL)
    digest = hashlib.sha256(content.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
