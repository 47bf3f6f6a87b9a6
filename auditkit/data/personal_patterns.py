"""Personal identifiers in texts: patterns of e-mail, phone, card, identity and account numbers, with check digits."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from auditkit.evidence.messages import Message


@dataclass(frozen=True)
class Pattern:
    """A kind of personal data: where it may stand in a text, and which of these places are it.

    With `whole` the value must be nothing else. With `by_chance` other numbers pass the test too, one in ten or more.
    """

    kind: Message
    candidate: re.Pattern[str]
    holds: Callable[[str], bool] = lambda text: True
    whole: bool = False
    by_chance: bool = False


def passes_luhn(text: str) -> bool:
    """Return whether the last digit of a number is the check digit of the others (ISO/IEC 7812-1).

    >>> passes_luhn("4539 1488 0343 6467"), passes_luhn("4539148803436468")
    (True, False)
    """
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def passes_iban(text: str) -> bool:
    """Return whether an account number has the check digits of ISO 13616: modulo 97 it leaves 1.

    >>> passes_iban("GB82 WEST 1234 5698 7654 32"), passes_iban("GB83WEST12345698765432")
    (True, False)
    """
    plain = re.sub(r"\s", "", text)
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def passes_resident_id(text: str) -> bool:
    """Return whether a number is a Chinese resident identity number: region, date of birth, check digit (GB 11643).

    >>> passes_resident_id("11010519491231002X"), passes_resident_id("110105194912310021")
    (True, False)
    """
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    try:
        born = date(int(text[6:10]), int(text[10:12]), int(text[12:14]))
    except ValueError:
        return False
    total = sum(weight * int(digit) for weight, digit in zip(weights, text, strict=False))
    return 1900 <= born.year <= date.today().year and "10X98765432"[total % 11] == text[17].upper()


def _passes_card(text: str) -> bool:
    return passes_luhn(text) and len(set(text)) > 2


_START, _END = r"(?<![\w.+-])", r"(?![\w-]|\.\w)"
CARD = r"(?:4\d{3}|5[1-5]\d{2}|2[2-7]\d{2}|6011|65\d{2}|62\d{2}|35\d{2})([ -]?)\d{4}\1\d{4}\1\d{4}|3[47]\d{13}"
REGION = r"(?:1[1-5]|2[1-3]|3[1-7]|4[1-6]|5[0-4]|6[1-5]|71|8[12])"

PATTERNS = (
    Pattern(
        Message("e-mail address"),
        re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}(?![\w-])"),
    ),
    Pattern(
        Message("phone number"),
        re.compile(
            rf"{_START}(?:\(\d{{3}}\) ?|\d{{3}}[ .-])\d{{3}}[ .-]\d{{4}}{_END}"
            rf"|(?<![\w.])\+[1-9](?!\d*\.\d+$)(?:[ ().-]{{0,2}}\d){{7,14}}{_END}"
        ),
    ),
    Pattern(
        Message("phone number"),
        re.compile(r"1[3-9]\d{9}"),
        whole=True,
        by_chance=True,
    ),
    Pattern(Message("payment card number"), re.compile(rf"{_START}(?:{CARD}){_END}"), _passes_card, by_chance=True),
    Pattern(
        Message("US social security number"),
        re.compile(rf"{_START}(?!000|666|9)\d{{3}}-(?!00)\d\d-(?!0000)\d{{4}}{_END}"),
    ),
    Pattern(
        Message("Chinese resident identity number"),
        re.compile(rf"{_START}{REGION}\d{{4}}(?:19|20)\d{{9}}[\dXx]{_END}"),
        passes_resident_id,
    ),
    Pattern(
        Message("bank account number (IBAN)"),
        re.compile(rf"{_START}[A-Z]{{2}}\d\d(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,3}})?{_END}"),
        passes_iban,
    ),
)
