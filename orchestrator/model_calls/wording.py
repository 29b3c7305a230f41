"""What of a question has to be word for word the same, before its meaning is compared at all.

An embedding hardly tells "from Paris to Rome" from "from Rome to Paris", 15 mg from 50 mg, or
a sentence from its negation. So no word, name, number, unit, negation, quantifier, tense or
order may differ: only politeness, contractions, spelling, a few synonyms, and a few ways to begin
a question. The tables are English; in other languages every word counts.
"""

from __future__ import annotations

import re
import unicodedata

_TOKEN = re.compile(r"\w+(?:['.,:/@+-]\w+)*|[^\w\s]")
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\u201c\u201d", "'''\"\"")

_CONTRACTIONS = (
    (r"\b(what|where|who|how|when|it|that|there|here)'s\b", r"\1 is"),
    (r"\bcan't\b|\bcannot\b", "can not"),
    (r"\bwon't\b", "will not"),
    (r"\b(do|does|did|is|are|was|were|would|could|should|have|has|had)n't\b", r"\1 not"),
    (r"\b(i|you|we|they)'(ve)\b", r"\1 have"),
    (r"\b(you|we|they)'re\b", r"\1 are"),
    (r"\bi'm\b", "i am"),
    (r"\b(i|you|we|they|he|she)'ll\b", r"\1 will"),
    (r"\bi'd like\b", "i would like"),
    (r"\bi'd love\b", "i would like"),
)

_VERBS = "tell|explain|describe|show|give|list|summarise|summarize|translate|write|define|help"
_STATES = "look|sound|feel|seem|appear|compare|rank|rate|score|fare|do|come|stand|owe"
"""How somebody does these is not how to do them."""
_ASKS = "what|who|whom|whose|where|when|why|how|which"

# Each is tried at the beginning, in this order, over and over, until none fits any more.
_OPENINGS = (
    (r"(?:hi|hello|hey|good (?:morning|afternoon|evening))(?: there)?\s*[,!.]\s+(?=\w)", ""),
    (r"(?:please|kindly)\s*,?\s+", ""),
    (r"(?:excuse me|quick question|question)\s*[,:]\s+", ""),
    (rf"(?:can|could|would|will) you (?:please |kindly )?(?=(?:{_VERBS}) \w)", ""),
    (rf"i (?:would like|want|need) you to (?=(?:{_VERBS})\b)", ""),
    (
        r"(?:i (?:would like|want|need) to know|i am wondering|i wonder|do you know"
        rf"|can you tell me|could you tell me|tell me|let me know) (?=(?:{_ASKS})\b)",
        "\x00",
    ),
    (r"i (?:would like|want|need) to know about ", "describe "),
    (r"tell me about ", "describe "),
    (r"give me (?:a|an) description of ", "describe "),
    (r"explain to me ", "explain "),
    (r"(?:give|write)(?: me)? an explanation of ", "explain "),
    (r"(?:give|show|write)(?: me)? (?:a|the) list of ", "list "),
    (r"list for me ", "list "),
    (r"(?:give|write)(?: me)? a summary of |sum up |summarise ", "summarize "),
    (r"(?:give|write)(?: me)? a translation of ", "translate "),
    (rf"how (?:do|can|could) i (?!(?:{_STATES})\b)|what is the way to ", "how to "),
    (r"what are the steps to |what do i (?:have|need) to do to ", "how to "),
    (r"what is the definition of ", "define "),
    (r"who is the author of ", "who wrote "),
)
_WHOLE = (
    (rf"\x00({_ASKS}) (.+) (is|are|was|were)\s*([?.!]*)", r"\1 \3 \2\4"),
    (r"explain (.+) to me\s*([?.!]*)", r"explain \1\2"),
    (r"what does (.+) mean\s*([?.!]*)", r"what is the meaning of \1\2"),
    (r"how much does (.+) cost\s*([?.!]*)", r"what is the cost of \1\2"),
    (r"where (is|are) (.+) located\s*([?.!]*)", r"where \1 \2\3"),
)
_ENDING = (
    r"(?<!say)(?<!spell)(?<!word)(?<!for)\s*,?\s+"
    r"(?:please|(?:thanks|thank you)(?: in advance)?|many thanks)\s*[.!?]*$"
)

_ABOUT_WORDS = frozenset(
    (
        *(
            "'",
            '"',
            "or",
            "vs",
            "versus",
            "called",
            "difference",
            "define",
            "translate",
            "translated",
        ),
        *("word", "words", "say", "mean", "means", "meaning", "synonym", "synonyms", "pronounce"),
        *("spell", "spelled", "spelling", "letter", "letters", "syllables", "rhyme", "rhymes"),
    )
)
"""Where one of these is, a synonym may be what is asked about."""

_SAME = {
    word: first
    for first, *others in (
        ("email", "e-mail"),
        ("emails", "e-mails"),
        ("photo", "photograph"),
        ("photos", "photographs"),
        ("television", "tv"),
        ("phone", "telephone"),
        ("fridge", "refrigerator"),
        ("airplane", "aeroplane"),
        ("car", "automobile"),
        ("buy", "purchase"),
        ("fix", "repair"),
        ("sofa", "couch"),
        ("information", "info"),
        ("okay", "ok"),
        ("color", "colour"),
        ("colors", "colours"),
        ("favorite", "favourite"),
        ("center", "centre"),
        ("organize", "organise"),
        ("recognize", "recognise"),
        ("analyze", "analyse"),
        ("canceled", "cancelled"),
        ("license", "licence"),
        ("grey", "gray"),
    )
    for word in (first, *others)
}


def essence(text: str) -> tuple[str, ...]:
    """Returns the words and signs that count, in order."""
    said = " ".join(unicodedata.normalize("NFC", text).translate(_APOSTROPHES).split())
    said = _opened(_uncapped(said))
    for pattern, instead in _WHOLE:
        said = re.sub(rf"^{pattern}$", instead, said)
    said = said.removeprefix("\x00")
    said = re.sub(_ENDING, "", said, flags=re.IGNORECASE)
    words = _TOKEN.findall(said)
    while (len(words) > 1 and words[-1] in ".!") or (words[-1:] == ["?"] and _asks(words[0])):
        words.pop()
    if not _ABOUT_WORDS.isdisjoint(words):
        return tuple(words)
    return tuple(_SAME.get(word, word) for word in words)


def _opened(said: str) -> str:
    """With its beginning in the one form that stands for all of the same meaning."""
    for pattern, instead in _CONTRACTIONS:
        said = re.sub(pattern, instead, said, flags=re.IGNORECASE)
    for _ in range(8):
        before = said
        for pattern, instead in _OPENINGS:
            said = _uncapped(re.sub(rf"^{pattern}", instead, said, flags=re.IGNORECASE))
        if said == before:
            break
    return said


def _uncapped(said: str) -> str:
    """A sentence's first word begins with a capital for no reason, unless it has more of them."""
    first = re.match(r"\x00?\w+", said)
    if first is None or (len(first[0]) > 1 and first[0].isupper()):
        return said
    return first[0].lower() + said[first.end() :]


def _asks(first: str) -> bool:
    return re.fullmatch(rf"{_ASKS}|{_VERBS}", first) is not None
