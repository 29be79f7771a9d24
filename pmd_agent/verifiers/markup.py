r"""The markup around and inside of a mathematical answer, as chat models write it, in one form of LaTeX.

    **42**  `42`  # 42  \[42\]  \(42\)  $42$  <b>42</b>  42&nbsp;  \mathbf{42}  {\bf 42}      42
    90°  −3  ½  2√3  x²  ∞  3 × 4       90^\circ  -3  \frac{1}{2}  2\sqrt{3}  x^{2}  \infty  3 \times 4
    1,234  1\,234  1{,}234  1 234       1234        only commas between groups of three digits; never inside of brackets
    1e3  2.5E-6                         1 \times 10^{3}  2.5 \times 10^{-6}
    \dfrac12  \frac 1 2                 \frac{1}{2}
    x**2  sqrt(2)  sin x  pi            x^2  \sqrt{2}  \sin x  \pi

Every text of \mathrm, \textbf, ... is in \text{}, unless it holds no word. All expressions here are linear, and texts longer than
`LONGEST_READ` are left as they are.
"""

from __future__ import annotations

import html
import re
import unicodedata

from pmd_agent.text import last_boxed, without_group_commas

LONGEST_READ = 2000
"""Characters beyond which nothing is made of an answer."""

_ENTITY = re.compile(r"&(?:[A-Za-z]{2,8}|#\d{1,6}|#[xX][0-9A-Fa-f]{1,5});")
_HTML = re.compile(
    r"</?(?:(br|p|div|center|h[1-6]|ul|ol|li|pre)|b|strong|i|em|u|s|span|code|kbd|tt|samp|mark|sup|sub|font|big|small)"
    r"(?:\s[a-z-]{1,20}\s?=\s?(?:\"[^\"<>]{0,200}\"|'[^'<>]{0,200}')){0,5}\s?/?>",
    re.IGNORECASE,
)
_SCRIPTS = re.compile(r"([⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+)|([₀₁₂₃₄₅₆₇₈₉]+)")
_SCRIPT_DIGITS = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ₀₁₂₃₄₅₆₇₈₉", "0123456789+-n0123456789")
_VULGAR = re.compile(r"[¼½¾⅐-⅞↉]")
_ROOT = re.compile(r"([√∛∜])\s?(?:\(([^()]{0,80})\)|(\d+(?:\.\d+)?|[A-Za-z]|(?=[\\{])))")
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "‑": "-", "﹣": "-", "－": "-", "×": r" \times ", "·": r" \cdot ",
    "⋅": r" \cdot ", "∙": r" \cdot ", "÷": r" \div ", "±": r"\pm ", "∓": r"\mp ", "∞": r"\infty ", "°": r"^\circ ",
    "º": r"^\circ ", "˚": r"^\circ ", "≤": r"\le ", "≥": r"\ge ", "≠": r"\neq ", "∪": r"\cup ", "∩": r"\cap ",
    "∈": r"\in ", "∅": r"\emptyset ", "ℝ": r"\mathbb{R}", "ℤ": r"\mathbb{Z}", "ℕ": r"\mathbb{N}", "ℚ": r"\mathbb{Q}",
    "ℂ": r"\mathbb{C}", "π": r"\pi ", "θ": r"\theta ", "α": r"\alpha ", "β": r"\beta ", "γ": r"\gamma ",
    "δ": r"\delta ", "λ": r"\lambda ", "μ": r"\mu ", "σ": r"\sigma ", "φ": r"\phi ", "ω": r"\omega ",
    "Δ": r"\Delta ", "⁄": "/", "∕": "/", "′": "'", "″": "''", "’": "'", "‘": "'", "“": '"', "”": '"', "∗": "*",
    "＊": "*", "…": r"\ldots ", "⟨": r"\langle ", "⟩": r"\rangle ", "≈": r"\approx ", "\u00a0": " ", "\u2007": r"\,",
    "\u2009": r"\,", "\u202f": r"\,", "\u200b": "", "\u200c": "", "\u200d": "", "\u2060": "", "\ufeff": "",
    "→": r"\to ", "∠": r"\angle ", "∆": r"\Delta ", "％": "%", "℃": r"^\circ C", "℉": r"^\circ F",
    "≡": r"\equiv ", "⊥": r"\perp ", "∥": r"\parallel ", "⊂": r"\subset ", "⊆": r"\subseteq ", "•": "", "✅": "",
    "✓": "", "✔": "", "\ufe0f": "",
}  # fmt: skip
_SINGLE = str.maketrans(_SIGNS)
_FENCE = re.compile(r"```[a-z]{0,10}\s|```")
_BOLD = re.compile(r"(?<![\w)}\]])\*\*(?=\S)|\*\*(?![\w({\\])|(?<!\w)__(?=\S)|(?<=[^\s_])__(?!\w)")
_DOLLARS = re.compile(r"\\\$\s?([\d.,]*\d)(?![\d.,]*\s?[A-Za-z+*/^=-])")
_CURRENCY = re.compile(r"([€£¥₹])\s?(\d[\d.,]*)|(\d[\d.,]*)\s?([€£¥₹])")
_CURRENCIES = {"€": "euros", "£": "pounds", "¥": "yen", "₹": "rupees"}
_CODE = re.compile(r"^(-?\s?)(?:(US\s?(?=\\?\$)|USD)|(EUR)|(GBP)|(JPY)|(INR|Rs\.?))\s?\\?\$?\s?(\d[\d.,]*)")
_MONEY_COMMAND = re.compile(
    r"\\(pounds|euro)(?![A-Za-z])\s?|\\(?:text|mathrm|mbox)\{\s?([€£¥₹]|USD|EUR|GBP|JPY|INR|Rs\.?)\s?\}"
)
_CODES = ("dollars", "euros", "pounds", "yen", "rupees")
_BRACKETS = re.compile(r"(?<!\\)\\[()\[\]]|\\?\$")
_ENVIRONMENT = re.compile(r"\\(?:begin|end)\{(?:equation|align|aligned|gather|gathered|displaymath|math|center)\*?\}")
_NOTHING = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|(?:display|text|script)style|limits|boldmath|large|Large|LARGE|huge|Huge|normalsize|small|bf|it|rm|tt|sf|bfseries|ensuremath)"
    r"(?![A-Za-z])\.?|\\(?:color|label)\{[^{}]*\}|\\textcolor\{[^{}]*\}"
    r"|\\colorbox\{[^{}]*\}|\\fcolorbox\{[^{}]*\}\{[^{}]*\}"
)
_DOUBLED = re.compile(r"\\\\(?=[A-Za-z])")
_SPACE = re.compile(r"(?<!\\)\\(?:[;: ]|qquad\b|quad\b|hspace\{[^{}]*\}|thinspace\b)|~")
_GROUPS = re.compile(
    r"(?<![\w.,\\])(?<!\d\\,)(?<!\d )(\d{1,3}(?:(?:\\,|\{,\}\\!|\{,\}|,\\!|\\!)\d{3}|(?: \d{3})(?=[^\d]|$))+)(?!\d)"
)
_GAP = re.compile(r"(\\[A-Za-z]+|[\^_]|(?<!\\)\})\s{1,3}(?=\{)")
_STYLE = re.compile(
    r"\\(?:text(?:normal|bf|it|rm|sf|tt|up|md)?|math(?:rm|bf|it|sf|tt|bfit)|mbox|hbox|emph|textsc|boldsymbol|bm|pmb|underline"
    r"|operatorname)\s?\{([^{}]*)\}"
)
_UPRIGHT = re.compile(r"\\(?:text|mathrm|mbox|hbox)")
_KEPT_NAME = re.compile(r"\\operatorname\s?\{")
_BRACE_PAIR = re.compile(r"(?<![\w\\^}\])])\{([^{}]*)\}(?!\s?[\^_{\d])")
_FRACTION_COMMAND = re.compile(r"\\(?:[dtcs]|nice)frac(?![A-Za-z])")
_LOOSE_FRACTION = re.compile(r"\\(frac|binom)\s{0,3}(\d|\{[^{}]*\})\s{0,3}(\d|\{[^{}]*\})")
_SCRIPT_FRACTION = re.compile(r"\^\{(\d+)\}\s?/\s?_\{(\d+)\}")
_ROW_GAP = re.compile(r"\\\\\[-?[\d.]+\s?(?:pt|ex|em|mm|cm)\]")
_MOD = re.compile(r"\(?\s?(?:\\[pb]?mod|(?<![A-Za-z\\])mod)(?![A-Za-z])\s?(?:\{([^{}]*)\}|(\w+))\s?\)?")
_ORDINAL = re.compile(r"(?<=\d)\s?\^\s?\{\s?(?:\\text\{)?\s?(th|st|nd|rd)\s?\}?\s?\}")
_DEGREE = re.compile(r"\\(?:text)?degrees?(?![A-Za-z])|(?<=\d)\s?\^\s?(?:\{\s?o\s?\}|o(?![A-Za-z]))")
_BAR = re.compile(r"(\.\d*)\\bar\{(\d+)\}|(\.\d*)\\bar(\d)")
_UNION = re.compile(r"(?<=[)\]}])\s?U\s?(?=[(\[\\])")
_SAME_SIGN = {r"\varnothing": r"\emptyset", r"\lbrace": r"\{", r"\rbrace": r"\}"}
_SAME = re.compile(r"\\(?:varnothing|[lr]brace)(?![A-Za-z])\s?")
_POWER = re.compile(r"(?<=[\w)}\]])\s?\*\*\s?")
_E_NOTATION = re.compile(
    r"(?<![\w.\\])(\d+(?:\.\d*)?|\.\d+)(?:[eE]|\s?\\text\{[eE]\}\s?)(?:\{?([-+]?\d+)\}?)(?![\d_]|\.\d)"
)
_TIMES_TEN = re.compile(
    r"(?<=\d)\s{0,3}(?:[xX*]|\\cdot|\\times)\s{0,3}10\s?(?:\^|\*\*)\s?(?:\{\s?([-+]?\d+)\s?\}|([-+]?\d+)|\(([-+]?\d+)\))"
)
_PLAIN_ROOT = re.compile(r"(?<![A-Za-z\\])sqrt\s?(?:\(([^()]{0,80})\)|(\d+))")
_PLAIN_NAME = re.compile(
    r"(?<![A-Za-z\\{])(pi|sin|cos|tan|cot|sec|csc|ln|log|exp|arcsin|arccos|arctan|infinity|infty)(?![A-Za-z])"
)
_HALF_DAY = re.compile(r"(?<![A-Za-z])([ap])\.\s?m\.?(?![A-Za-z])", re.IGNORECASE)
_LEAD = re.compile(
    r"(?:(?:so|thus|hence|therefore),?\s)?(?:the\s)?(?:final\s|correct\s)?answer(?:\sis\b|\s?[:=])\s?:?", re.IGNORECASE
)
_RELATION = re.compile(r"^(?:=|\\approx(?![A-Za-z]))\s?")
_OPEN = ("(", "[", "\\{")


def plain(text: str) -> str:
    """What is in the last box, else all of it, in one form; empty where nothing is left."""
    boxed = last_boxed(text)
    text = " ".join((text if boxed is None else boxed).split())
    if len(text) > LONGEST_READ:
        return text
    if "\\begin" not in text:
        text = _DOUBLED.sub(r"\\", text)  # as JSON writes it
    text = _without_dressing(_signs(without_html(text)))
    lead = _LEAD.match(text)
    text = _unstyled(text[lead.end() :] if lead else text)
    text = _numbers(text)
    text = " ".join(_one_notation(text).split())
    return _PLAIN_NAME.sub(lambda name: "\\" + name[1].replace("infinity", "infty"), text).strip()


def _one_notation(text: str) -> str:
    """Other commands for the same sign."""
    text = _SAME.sub(lambda sign: _SAME_SIGN[sign[0].strip()] + " ", _ROW_GAP.sub(r"\\\\", text))
    text = _MOD.sub(lambda mod: rf" \pmod{{{(mod[1] or mod[2]).strip()}}}", text)
    text = _BAR.sub(lambda bar: rf"{bar[1] or bar[3]}\overline{{{bar[2] or bar[4]}}}", text)
    return _UNION.sub(r" \\cup ", _DEGREE.sub(r"^\\circ", _ORDINAL.sub(r"\1", text)))


def without_html(text: str) -> str:
    """Entities as the characters that they stand for, without tags of style; those that end a line do."""
    return _HTML.sub(lambda tag: "\n" if tag[1] else " ", _ENTITY.sub(lambda entity: html.unescape(entity[0]), text))


def _signs(text: str) -> str:
    """Unicode's mathematical signs as LaTeX, wide letters and digits as plain ones."""
    text = _ROOT.sub(_root, text)
    text = _VULGAR.sub(_vulgar, text)
    text = _SCRIPTS.sub(
        lambda run: ("^{" if run[1] else "_{") + run[0].translate(_SCRIPT_DIGITS) + "}", text.translate(_SINGLE)
    )
    text = _SCRIPT_FRACTION.sub(r"\\frac{\1}{\2}", text)
    return "".join(unicodedata.normalize("NFKC", c) if _is_wide(c) else c for c in text)


def _is_wide(letter: str) -> bool:
    """Of full width, or of the mathematical alphabets."""
    return "\uff00" <= letter <= "\uffef" or "\U0001d400" <= letter <= "\U0001d7ff"


def _vulgar(sign: re.Match[str]) -> str:
    top, _, bottom = unicodedata.normalize("NFKC", sign[0]).partition("\u2044")
    return rf"\frac{{{top}}}{{{bottom}}}"


def _root(sign: re.Match[str]) -> str:
    degree = {"√": "", "∛": "[3]", "∜": "[4]"}[sign[1]]
    inside = sign[2] if sign[2] is not None else sign[3]
    return rf"\sqrt{degree}{{{inside}}}" if inside else rf"\sqrt{degree}"


def _without_dressing(text: str) -> str:
    """Without what Markdown, display brackets and spacing put around and between."""
    text = _BOLD.sub("", _FENCE.sub("", text)).replace("`", "")
    text = _MONEY_COMMAND.sub(lambda m: {"pounds": "£", "euro": "€"}.get(m[1] or "", m[2] or ""), text)
    text = _CODE.sub(lambda m: rf"{m[1]}{m[7]} \text{{{_CODES[next(n for n in range(5) if m[n + 2])]}}}", text)
    text = _CURRENCY.sub(lambda m: rf"{m[2] or m[3]} \text{{{_CURRENCIES[m[1] or m[4]]}}}", text)
    text = _DOLLARS.sub(r"\1 \\text{dollars}", text)
    text = _ENVIRONMENT.sub(" ", _BRACKETS.sub("", text)).strip().lstrip("#").removeprefix("> ").strip()
    for mark in ("*", "_", '"', "'"):
        if len(text) > 2 and text.startswith(mark) and text.endswith(mark) and mark not in text[1:-1]:
            text = text[1:-1]
    text = _NOTHING.sub("", text)
    text = _SPACE.sub(" ", text).strip()
    text = _RELATION.sub("", text.removesuffix("\\\\"))
    while text.endswith((".", ",", ";", "\\,")) and not text.endswith("\\;"):
        text = text.removesuffix("\\,").rstrip(".,;").strip()
    return text


def _unstyled(text: str) -> str:
    r"""\text{} around words, nothing around numbers and formulas; from the inside out, at most four deep."""
    text = _GAP.sub(r"\1", text)
    for _ in range(4):
        changed = _BRACE_PAIR.sub(lambda pair: pair[1] if _is_formula(pair[1]) else pair[0], _STYLE.sub(_styled, text))
        if changed == text:
            break
        text = changed
    text = _FRACTION_COMMAND.sub(r"\\frac", text)
    return _LOOSE_FRACTION.sub(lambda f: rf"\{f[1]}{_braced(f[2])}{_braced(f[3])}", text)


def _styled(found: re.Match[str]) -> str:
    content = found[1]
    content = re.sub(r"(?<=\w)[.,;]\s?$", "", content)
    if len(content.strip()) == 1 and content.strip().isalpha() and _UPRIGHT.match(found[0]):
        return rf"\text{{{content.strip()}}}"  # a metre, and not the variable m
    if _is_formula(content):
        return content
    return found[0] if _KEPT_NAME.match(found[0]) else rf"\text{{{content}}}"


def _is_formula(content: str) -> bool:
    """Whether it holds a digit or a command, or no word of two letters."""
    return any(c.isdigit() for c in content) or "\\" in content or not re.search(r"[^\W\d_]{2}", content)


def _braced(part: str) -> str:
    return part if part.startswith("{") else f"{{{part}}}"


def _numbers(text: str) -> str:
    if not any(bracket in text for bracket in _OPEN):
        text = without_group_commas(text)
    text = _GROUPS.sub(lambda run: "".join(c for c in run[1] if c.isdigit()), text)
    text = text.replace("{,}", ",").replace("\\,", " ").replace("\\!", "")
    text = _E_NOTATION.sub(lambda e: rf"{e[1]} \times 10^{{{int(e[2])}}}", text)
    text = _TIMES_TEN.sub(lambda ten: rf" \times 10^{{{int(ten[1] or ten[2] or ten[3])}}}", text)
    text = _PLAIN_ROOT.sub(lambda root: rf"\sqrt{{{root[1] if root[1] is not None else root[2]}}}", text)
    return _HALF_DAY.sub(r"\1m", _POWER.sub("^", text))
