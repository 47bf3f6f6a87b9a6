"""Which of two classes is the positive one, told from the words; and one spelling of a word as another."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence

from auditkit.data.group_names import known_as
from auditkit.errors import InputError

NEGATIONS = ("not ", "not-", "not_", "non ", "non-", "non_", "no ", "no-", "no_", "un", "in", "dis", "non")
POSITIVE_WORDS = frozenset(
    {"1", "true", "t", "yes", "y", "positive", "pos", "pass", "passed", "good", "approved", "accepted", "granted"}
    | {"admitted", "hired", "selected", "eligible", "offered", "invited", "successful", "success"}
    | {"approve", "accept", "grant", "admit", "hire", "select", "offer", "invite"}
    | {"ja", "wahr", "genehmigt", "bewilligt", "angenommen", "bestanden", "zugesagt"}
    | {"oui", "vrai", "approuve", "approuvee", "accepte", "acceptee", "accorde", "accordee", "admis", "admise"}
    | {"si", "verdadero", "aprobado", "aprobada", "aceptado", "aceptada", "concedido", "concedida"}
    | {"vero", "approvato", "approvata", "accettato", "accettata", "sim", "verdadeiro", "aprovado", "aprovada"}
    | {
        "aceito",
        "aceita",
        "goedgekeurd",
        "toegekend",
        "tak",
        "да",
        "одобрено",
        "是",
        "真",
        "通过",
        "批准",
        "同意",
        "合格",
    }
    | {"はい", "承認"}
)
NEGATIVE_WORDS = frozenset(
    {"0", "-1", "false", "f", "no", "n", "negative", "neg", "fail", "failed", "bad", "denied", "declined", "rejected"}
    | {"refused", "dismissed", "ineligible", "unsuccessful", "failure"}
    | {"deny", "decline", "reject", "refuse", "dismiss"}
    | {"nein", "falsch", "abgelehnt", "verweigert", "durchgefallen", "nichtbestanden", "abgesagt"}
    | {"non", "faux", "refusee", "rejete", "rejetee", "recale", "recalee", "ajourne", "ajournee"}
    | {"falso", "rechazado", "rechazada", "denegado", "denegada", "suspenso"}
    | {"respinto", "respinta", "rifiutato", "rifiutata", "nao", "recusado", "recusada", "rejeitado", "rejeitada"}
    | {"negado", "negada", "reprovado", "reprovada", "nee", "afgewezen", "nie", "nej", "nei", "нет", "отказано"}
    | {"否", "假", "拒绝", "驳回", "不通过", "未通过", "不批准", "不同意", "不合格", "いいえ", "却下"}
)
"""Both as `folded` gives them: without accents. Their languages are those of the EU's larger members, Chinese, Japanese
and Russian; for others the classes are in the order of their names, which a run says and --positive changes."""


def folded(word: str) -> str:
    """Return a word without case, accents, punctuation and white space; `1.0` is `1`.

    >>> folded(" Approved."), folded("APPROVED"), folded("1.0"), folded("-1")
    ('approved', 'approved', '1', '-1')
    """
    word = unicodedata.normalize("NFKD", word.strip()).casefold()
    try:
        return f"{float(word):g}"
    except ValueError:
        return "".join(letter for letter in word if letter.isalnum() or letter in "<>=+-")


def positive_of(classes: Sequence[str]) -> str | None:
    """Return the positive one of two classes where the words tell it, else None.

    That is the one which the other negates, or that means yes while the other means no.

    >>> positive_of(("Default", "Not default")), positive_of(("approved", "denied")), positive_of(("high", "low"))
    ('Default', 'approved', None)
    >>> positive_of(("ja", "nein")), positive_of(("Accepté", "Refusé")), positive_of(("不通过", "通过"))
    ('ja', 'Accepté', '通过')
    """
    if len(classes) != 2:
        return None
    for one, other in ((classes[0], classes[1]), (classes[1], classes[0])):
        low = other.strip().casefold()
        if any(low == negation + one.strip().casefold() for negation in NEGATIONS):
            return one
        if folded(one) in POSITIVE_WORDS and folded(other) in NEGATIVE_WORDS:
            return one
    return None


def positive_last(classes: Sequence[str]) -> tuple[str, ...]:
    """Return two classes with the positive one last where the words tell it, others as they are."""
    positive = positive_of(classes)
    if positive is None:
        return tuple(classes)
    return (*(name for name in classes if name != positive), positive)


def respelt(words: Sequence[str], classes: Sequence[str]) -> Mapping[str, int] | None:
    """Return the class code of each word where every word is another spelling of one class, else None.

    >>> respelt(["APPROVED", "denied "], ("denied", "approved"))
    {'APPROVED': 1, 'denied ': 0}
    """
    codes = {folded(name): code for code, name in enumerate(classes)}
    if len(codes) < len(classes) or not all(folded(word) in codes for word in words):
        return None
    found = {word: codes[folded(word)] for word in words}
    return found if len(set(found.values())) == len(words) else None


def yes_or_no(words: Sequence[str]) -> Mapping[str, int] | None:
    """Return 1 for words that mean yes and 0 for those that mean no, None where a word means neither.

    >>> yes_or_no(["1", "-1"]), yes_or_no(["granted"]), yes_or_no(["approve", "deny"]), yes_or_no(["a"])
    ({'1': 1, '-1': 0}, {'granted': 1}, {'approve': 1, 'deny': 0}, None)
    """
    found = {word: int(folded(word) in POSITIVE_WORDS) for word in words}
    known = all(folded(word) in POSITIVE_WORDS | NEGATIVE_WORDS for word in words)
    return found if known else None


def with_positive(classes: Sequence[str], positive: str | None) -> Sequence[str]:
    """Return two classes with the stated one last, which may be written in another form: `1.0` names the class `1`.

    Raises:
        InputError: there are not two, or it is none of them.
    """
    if positive is None:
        return classes
    if len(classes) != 2:
        raise InputError(f"positive needs two classes, and there are {len(classes)}; leave --positive out.")
    positive = known_as(positive, classes)
    if positive not in classes:
        raise InputError(f"positive must be one of the classes {', '.join(classes)}, got {positive!r}.")
    return (*(name for name in classes if name != positive), positive)
