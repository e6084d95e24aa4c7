"""What kind of failure it is, by status, labels and words (quirks E03-E12).

Vendors agree on little: the same status stands for a rate and for an empty account, the same words for a prompt and
for a name that is too long. The order of the questions is the rule: money, rates, what only looks like an overflow,
overflow, filters, keys, models, and the status last.
"""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet

from chatbridge.protocol.errors import Kind

# --- rates. They stand before overflows: Groq's "tokens per minute" 413 looks like one (quirk E04).

_RATE = re.compile(
    r"(?i)tokens per (?:min|day|hour)|requests per (?:min|day|hour)|\bTPM\b|\bRPM\b|rate.?limit|too many requests"
    r"|tier capacity exceeded|frequency limit|high concurrency|concurren\w+ (?:limit|quota)|并发|频率|访问量过大"
)
_RATE_LABELS = frozenset(
    {
        "rate_limit_exceeded",
        "rate_limit_error",
        "rate_limited",
        "too_many_requests",
        "too_many_requests_error",
        "resource_exhausted",
        "requestlimitexceeded",
        "throttling.ratequota",
        "throttling",
        "1302",
        "1303",
        "1305",
    }
)
_OVER_LIMIT = re.compile(r"(?i)limit:? ([\d,]+),.*?requested:? ([\d,]+)")

# --- money

_QUOTA = re.compile(
    r"(?i)insufficient[_ ](?:(?:user|account)[_ ])?(?:quota|balance|credits?|funds)"
    r"|not enough (?:balance|credits?|funds)"
    r"|(?:balance|credits?|funds) (?:is |are )?insufficient|balance is too low"
    r"|(?:exceeded|reached) your (?:current |monthly |daily )?(?:token |included )?quota"
    r"|exceeded current (?:token )?quota|quota (?:has been |was )?(?:exceeded|exhausted)"
    r"|usage limit|spend(?:ing)? limit|billing hard limit|key limit exceeded|credit limit exceeded"
    r"|free (?:tier|quota|allocation)\b.{0,40}\bexhausted|monthly included credits|requires more credits"
    r"|(?:out of|no|all available) credits|overdue|arrear|account is in good standing|余额不足|欠费"
)
_QUOTA_LABELS = frozenset(
    {
        "insufficient_quota",
        "insufficient_funds",
        "insufficient_balance_error",
        "quota_exceeded",
        "exceeded_current_quota_error",
        "billing_hard_limit_reached",
        "usage_limit_reached",
        "arrearage",
        "accountoverdueerror",
        "allocationquota.freetieronly",
        "1008",
        "1113",
        "2056",
    }
)

# --- context overflow (quirk E03)

_OVERFLOW_LABELS = frozenset(
    {
        "context_length_exceeded",
        "context_window_exceeded",
        "model_context_window_exceeded",
        "exceed_context_size_error",
        "request_too_large",
        "1261",
    }
)
# What the vendors are known to say.
_KNOWN = (
    r"prompt is too long",
    r"input is too long for requested model",
    r"exceeds the context window",
    r"input token count.*exceeds the maximum",
    r"maximum prompt length is \d+",
    r"reduce the length of the messages",
    r"maximum context length",
    r"\b(?:tokens?|prompt|context|input|request|conversation)\b.{0,60}exceeds the limit of \d+",
    r"exceeds the available context size|exceed_context_size_error",
    r"greater than the context length|tokens when context the overflows|context size has been exceeded",
    r"context window exceeds limit",
    r"exceeded model token limit|input token length too long|range of input length should be",
    r"too large for model with \d+ maximum context length",
    r"prompt exceeds max length|model_context_window_exceeded",
    r"must be less than (?:or equal to )?max_seq_len|max_total_tokens.*max_seq_len",
    r"current length is \d+ while limit is \d+",
    r"inputs. tokens \+ .max_new_tokens. must be",
    r"longer than the model.s (?:maximum )?context length|context length is only \d+ tokens",
    r"input length.*exceeds.*context length",
    r"context[_ ]length[_ ]exceeded|request entity too large",
    r"total message size \d+ exceeds limit",
    r"inputs\W{1,3}must have less than \d+ tokens",
    r"exceeded max_(?:prompt|input)_tokens|max tokens of \d+ exceeded",
)
# What they may say next: a whole conversation, and that it is more than fits.
_MORE = (
    r"(?:exceed\w*|too (?:long|large|big)|(?:longer|larger|greater|bigger|more) than|surpass\w*|overflow\w*"
    r"|goes? (?:over|beyond)|does not fit|doesn't fit)"
)
_ROOM = (
    r"(?:context"
    r"|(?:model|prompt|input|sequence|token|maximum)[ -]?(?:token |sequence |model )?(?:length|window|size|limit))"
)
_WHOLE = (
    r"(?:prompt|conversation|chat history|context"
    r"|(?:total |number of |input |prompt )+tokens?|input (?:length|tokens?|text))"
)
_NUMBER = r"(?: \(?[\w ]{1,30}\)?)?"
_REWORDED = (
    _MORE + r".{0,60}\bcontext (?:window|length|size|limit)",
    r"\bcontext (?:window|length|size|limit)\b.{0,40}(?:exceeded|overflow\w*|too small|is full)",
    rf"\b{_WHOLE}\b{_NUMBER}(?:,? \w+){{0,4}}? {_MORE}\b.{{0,40}}\b(?:{_ROOM}|max\w*|allowed|limit|\d{{3,}})",
    r"\b(?:prompt(?! cache)|conversation|chat history|(?:prompt|input) tokens?)\b(?: \w+){0,3} too (?:long|large)\b",
    r"\btoo many (?:input |prompt |total )?tokens\b(?! (?:sent|processed|per))",
    r"\btokens?\b.{0,40}\bcannot exceed \d+|\btokens in (?:the )?request more than max",
    r"\b(?:prompt|input) (?:is )?too (?:long|large)\b.{0,40}\b\d+ tokens",
    r"\b(?:token limit|max(?:imum)? tokens) exceeded\b.{0,40}\b(?:prompt|input|context)",
    r"\btokens of .{0,30}\bexceed max message tokens",
    r"longer than the maximum (?:model|context|sequence) length",
    r"(?:上下文|输入|提示词?|prompt|tokens?).{0,20}(?:超过|超出|超限|超长|过长|太长)",
)
_OVERFLOW = re.compile("(?i)" + "|".join((*_KNOWN, *_REWORDED)))
# Names, ids and single fields have limits, too; so have tools, images and the answer.
_NOT_OVERFLOW = re.compile(
    r"(?i)tool_call_id|call_id|function\.name|'user'|\bname' ?:? ?string too long|string too long|array too long"
    r"|too many (?:images|tools|messages)|(?:number of|count of) (?:images|tools|sequences)|image (?:size|count)"
    r"|^[^.]*\bmax_(?:completion_|output_|new_)?tokens\b['\"`]? "
    r"(?:\(\d+\) exceeds|is too large: \d+\. this model supports)"
    r"|at most \d+ completion tokens"
)

# --- content filters (quirk E10)

_FILTER_LABELS = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "data_inspection_failed",
        "datainspectionfailed",
        "responsibleaipolicyviolation",
        "prohibited_content",
        "1301",
        "1026",
        "1027",
    }
)
_FILTERED = re.compile(
    r"(?i)content management policy|content violates usage guidelines|content exists risk|inappropriate content"
    r"|sensitive.?(?:content|information)|considered high risk|flagged as potentially violating"
    r"|violat\w+ .{0,20}usage polic|(?:requires|failed) moderation|input was flagged|prohibited_content"
    r"|(?:blocked|rejected|refused|filtered) .{0,30}(?:safety|content polic|moderation)|敏感"
)

# --- keys and models

_AUTH = re.compile(
    r"(?i)api.?key (?:is )?(?:not valid|invalid|missing|required|expired)"
    r"|(?:incorrect|invalid|missing|expired|no) api.?key|no auth credentials|unauthorized"
    r"|authentication (?:failed|required)"
)
_AUTH_LABELS = frozenset({"invalid_api_key", "api_key_invalid", "authentication_error", "invalid_authentication_error"})
_NO_MODEL = re.compile(
    r"(?i)\bmodel\b.{0,100}? (?:does not|doesn't|not) exist|\bmodel not (?:found|exist)|not a valid model"
    r"|(?:unknown|invalid|no such) model\b(?! (?:output|response|param))|not found the model|模型不存在"
)
_NO_MODEL_LABELS = frozenset(
    {"model_not_found", "model_not_supported", "model_not_exist", "invalid_model", "modelnotfound", "1211"}
)

# --- the rest

# The model wrote a call that the vendor's own check refused; the next sample is usually fine (quirk E09).
_RETRY_LABELS = frozenset({"tool_use_failed"})
_TEMPLATE_FAULT = re.compile(
    r"(?i)jinja|chat.template|system message must be at the beginning|unhashable type|roles must alternate"
    r"|raise_exception|at row \d+, column \d+|system role not supported"
)


def diagnose(status: int, labels: AbstractSet[str], text: str, *, may_wait: bool) -> Kind:
    """Return the kind of a failure.

    *labels* are its codes and types in lower case, *text* its words. *may_wait*: a time to wait is named, so that
    "quota" means a rate (Gemini says it of both).
    """
    if 300 <= status < 400:
        return Kind.INVALID
    if labels & _QUOTA_LABELS or status == 402 or (_QUOTA.search(text) and not may_wait):
        return Kind.QUOTA
    if labels & _OVERFLOW_LABELS:
        return Kind.OVERFLOW
    if status == 429 or labels & _RATE_LABELS or (status not in (401, 404) and _RATE.search(text)):
        return _rate_or_size(text)
    if _OVERFLOW.search(text) and not _NOT_OVERFLOW.search(text):
        return Kind.OVERFLOW
    refusal = status < 300 or 400 <= status < 500
    if labels & _FILTER_LABELS or any("sensitivecontent" in label for label in labels):
        return Kind.FILTERED
    if refusal and _FILTERED.search(text):
        return Kind.FILTERED
    if status in (401, 403) or labels & _AUTH_LABELS or (refusal and status != 404 and _AUTH.search(text)):
        return Kind.AUTH
    if status == 404 or labels & _NO_MODEL_LABELS or (refusal and _NO_MODEL.search(text)):
        return Kind.NOT_FOUND
    if status == 413:
        return Kind.OVERFLOW
    if labels & _RETRY_LABELS or status in (408, 409, 425) or status >= 500 or status < 400:
        # A template that cannot render the messages will not render them the next time either (quirk E12).
        return Kind.INVALID if _TEMPLATE_FAULT.search(text) else Kind.UNAVAILABLE
    return Kind.INVALID


def _rate_or_size(text: str) -> Kind:
    """A single request above the whole rate limit will never pass: not worth a retry."""
    match = _OVER_LIMIT.search(text)
    limit, requested = (int(group.replace(",", "") or 0) for group in match.groups()) if match else (0, 0)
    return Kind.INVALID if requested > limit else Kind.RATE_LIMIT
