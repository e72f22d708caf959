"""The sentences that scripts write, in the page's language."""

from functools import lru_cache

from django import template
from django.utils.html import json_script
from django.utils.safestring import SafeString
from django.utils.translation import get_language
from django.utils.translation.trans_real import DjangoTranslation
from django.views.i18n import JavaScriptCatalog

register = template.Library()

SOURCE_LANGUAGE = "en"


@lru_cache
def script_catalog(language: str) -> dict[str, str | list[str]]:
    """Message -> its translation, or its plural forms. Empty for English, which needs none."""
    if language.partition("-")[0] == SOURCE_LANGUAGE:
        return {}
    view = JavaScriptCatalog()
    view.translation = DjangoTranslation(
        language, domain="djangojs", localedirs=view.get_paths(["rating_ui"])
    )
    return dict(view.get_catalog())


@register.simple_tag
def script_texts() -> SafeString | str:
    """A data block that /static/rating_ui/gettext.js reads; nothing where English is spoken."""
    texts = script_catalog(get_language() or SOURCE_LANGUAGE)
    return json_script(texts, "script-texts") if texts else ""
