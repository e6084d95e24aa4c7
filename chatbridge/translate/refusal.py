"""What an error's text refuses: a parameter itself, told from one with a wrong value.

Vendors say it in many ways: ``Unsupported parameter: 'x'``, ``property 'x' is unsupported``, ``Unknown name "x": Cannot
find field.``, ``"loc":["body","x"],"msg":"Extra inputs are not permitted"``, ``does not support parameter x``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache

_NOT = r"(?:not|n['o]t|never)"
_KIND = r"(?:parameter|param|argument|field|propert(?:y|ies)|key|option)s?"
_DONE = r"(?:support|permit|allow|accept|implement|recogni[sz]|availab|enabl|known|used|specified)\w*"
# Before the name, and behind it.
_BEFORE = (
    rf"unsupported|unrecogni[sz]ed|unexpected|unknown|extra|additional|no such|{_NOT} (?:currently |yet )?{_DONE}"
    r"|invalid (?:parameter|argument|field|property|key|option)|(?:cannot|can't|do not|don't) (?:use|set|specify|send)"
    rf"|(?:unsupported|illegal|forbidden|prohibited|invalid)[_ ]{_KIND}|(?:remove|omit)"
)
_BEHIND = (
    rf"unsupported|unrecogni[sz]ed|unexpected|unknown (?:field|parameter|argument|key|property|name)"
    rf"|(?:{_NOT}|cannot) (?:currently |yet |both |be )*{_DONE}|extra (?:inputs?|fields?|parameters?)"
    r"|additional propert|cannot find field|no such|deprecated|no longer|only (?:supported|allowed|available)"
    rf"|{_NOT} an? (?:\w+ )?(?:valid|recogni[sz]ed|known|supported) (?:\w+ )?{_KIND}"
    rf"|an? (?:invalid|illegal|unrecogni[sz]ed|unexpected) (?:\w+ )?{_KIND}"
    rf"|(?:must|should|may|can) ?{_NOT} be (?:set|sent|given|provided|present|included|used)"
    r"|(?:is|are|was|were|been) (?:forbidden|prohibited|illegal|disabled|removed)"
    r"|incompatible|不支持|不被支持"
)
_BETWEEN = (
    r"request|body|parameters?|params?|arguments?|fields?|names?|keys?|keyword|propert(?:y|ies)|inputs?|options?|values?"
    r"|supplied|provided|specified|the|this|that|for|with|on|in|models?|object|json|are|is|you|s"
)
_LISTED = r"(?:['\"`]?[\w.\[\]]{1,60}['\"`]?\s*(?:,|\band\b|\bor\b)\s*)"
# These are words of plain language too: as names they stand in quotes or before a colon.
_WORDS = frozenset({"reasoning", "seed", "stop", "thinking", "user", "verbosity", "plugins", "provider"})
# What says of a value that it is wrong.
_VALUE = re.compile(
    r"(?i)(?:must|should|has to|needs to) (?:be|have|contain)|between|range|greater|less than|at (?:most|least)|maximum"
    r"|values? (?:above|below|over|under)"
    r"|minimum|too (?:large|small|long|short|many|high|low)|expected an? "
    rf"|not a valid(?! (?:\w+ )?{_KIND}\b)|[<>≤≥]|decimal|integer"
)
# What stands in messages and tools is no parameter of the request.
_INSIDE = re.compile(
    r"""["'`]?[\w$]+["'`]? at ["'`]?(?:messages|tools|contents)\b[\w.\[\]'"]*"""
    r"""|["'](?:messages|tools)["']\s*,[^\])]*|\b(?:messages|tools|contents)[.\[][\w.\[\]'"]*"""
)
# What is quoted from the request is no name.
_ECHO = re.compile(r"""["']input["']\s*:.*?(?=\}\s*[,\]]|$)|\binput_value=.*?(?=, input_type=|$)""")
# What is wrong in a tool, or in a call of one, is no parameter either.
_OF_A_TOOL = re.compile(
    r"""(?i)\bschema for\b|invalid.{0,20} schema|in context=\(|\btools?[.\[]\d|tool.call arguments"""
    r"""|\b(?:tool|function) (?:named )?['"`]\w"""
)
_ONE_OF_TWO = re.compile(r"(?i)cannot both|can't both|not both|only one of|mutually exclusive|together with|conflict")
_BLOCK = 20
"""Characters that a refusal and the conversation have in common, and not by chance."""
_WHOLE = 0.95
"""A refusal of which so much stands in the conversation was not made of it: the user has shown an earlier one."""
_REFUSED = re.compile(f"(?i){_BEHIND}|{_BEFORE}")


def refused(text: str) -> bool:
    """Tell whether *text* refuses anything as such."""
    return _REFUSED.search(text) is not None


def without_echo(text: str) -> str:
    """Return *text* without what it quotes from the request, in forms that say so themselves."""
    return _ECHO.sub(" ", text)


def without_quotes(text: str, said: str) -> str:
    """Return *text* without the passages that it has in common with *said*, the conversation."""
    kept, at, common = [], 0, 0
    while at < len(text):
        size = _common(text, at, said)
        if size:
            kept.append(" … ")
        else:
            size = 1
            kept.append(text[at])
            common -= 1
        at += size
        common += size
    return text if common >= len(text) * _WHOLE else "".join(kept)


def _common(text: str, at: int, said: str) -> int:
    """How many characters of *text* from *at* on stand in *said* as they are; 0 for too few to mean anything."""
    if at + _BLOCK > len(text) or text[at : at + _BLOCK] not in said:
        return 0
    least, most = _BLOCK, len(text) - at
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if text[at : at + middle] in said else (least, middle - 1)
    return least


def named(text: str, keys: Iterable[str], param: str = "") -> list[str]:
    """Return those of the request's *keys* that *text* refuses; of two that exclude each other the one named last."""
    if _OF_A_TOOL.search(without_echo(text)):
        return []
    found = [key for key in keys if refuses(text, key, param)]
    if len(found) > 1 and _ONE_OF_TWO.search(text):
        return [max(found, key=text.rfind)]
    return found


def refuses(text: str, key: str, param: str = "") -> bool:
    """Tell whether *text* refuses the request's parameter *key* itself; *param* is what the error names, if it does."""
    text = _INSIDE.sub(" ", without_echo(text))
    before, behind, only = _patterns(key)
    if only.search(text):
        return True
    found = before.search(text) or behind.search(text)
    if found is None and param.removeprefix("body.").partition(".")[0] == key:
        found = _REFUSED.search(text)
    return found is not None and not _VALUE.search(text[found.start() : found.end() + 60])


@lru_cache(200)
def _patterns(key: str) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    # reasoning_effort is reasoningEffort or "reasoning effort", too.
    name = "[_ -]?".join(map(re.escape, key.split("_")))
    here = rf"(?<![\w.\]-])(?:(?:body|request)\.)?{name}(?![\w-])"
    if key in _WORDS:
        here = rf"(?:(?<=['\"`\[(:,.])|(?<=[:,] )){here}(?=['\"`\]),:.;]|$)|{here}(?=['\"`:\]])"
    here = f"(?:{here})"
    before = rf"(?:{_BEFORE})\W*(?:(?:{_BETWEEN})\b\W*){{0,8}}?(?:{_LISTED}['\"`]?){{0,10}}?{here}"
    behind = rf"{here}[\w.\[\]]*[^.;!?]{{0,60}}?(?:{_BEHIND})"
    only = (
        rf"{here}\W+(?:only )(?:the default )?(?:value )?\(?[\d.]+\)? (?:is )?(?:allowed|supported|accepted)"
        rf"|{here}\W+(?:may only|must|should) be (?:set to )?(?:unset|omitted|removed|1(?:\.0)?)(?![\d.]| or| to|,)"
    )
    return re.compile(f"(?i){before}"), re.compile(f"(?i){behind}"), re.compile(f"(?i){only}")
