"""Invented multiple-choice questions: sentences of common and scientific words, formulas, sequences and numbers.

They carry no knowledge. They teach the form of a question, in many layouts and lengths, and give the tokenizer its merges.
"""

from __future__ import annotations

import random

WORDS = """
the of and to in is a that it for as was with be by on not which are this or from at have an has but were their one all we
can there been if more when will would who so no out up into do any what some could them other than then its time only may
new these two first after most also over such how where between through during each under both given following based
select choose answer option options question correct right best most least likely true false number value values data
compute determine identify describe predict explain compare consider assume according without within about because using
used use make made takes give gives shows shown known called named find found form forms type types kind part parts group
molecule molecules molecular atom atoms atomic bond bonds bonding ring rings chain chains carbon oxygen nitrogen hydrogen
sulfur fluorine chlorine phosphorus acid base salt water solution solvent mixture reaction reactions reagent reactant
product products catalyst yield structure structural formula compound compounds element elements ion ions charge charged
electron electrons proton protons neutron energy enthalpy entropy temperature pressure volume mass weight density point
boiling melting solubility soluble polar donor acceptor acceptors donors rotatable topological surface area lipophilicity
toxic toxicity drug drugs protein proteins enzyme enzymes sequence sequences gene genes cell cells membrane acidity
mutation mutant mutants fluorescence function functional native variant activity binding site stability stable score
expression species material materials composition crystal lattice hull formation band gap perovskite oxide metal alloy
conductivity thermal electrical magnetic optical mechanical hardness strength phase diagram equation rate constant law
oxidation reduction equilibrium kinetic concentration moles mole gram grams liter kelvin volt ampere wave length light
spectrum spectra infrared resonance peak peaks shift signal model method methods experiment measured measure property
properties name names systematic notation string represents represented example different same higher lower greater less
increase decrease large small long short high low positive negative zero full half total single double triple single step
methyl ethyl phenyl hydroxy oxo amino chloro fluoro nitro ester amide ketone aldehyde alcohol ether amine acetyl propan
butan pentan hexan benzene pyrrol acetic propanoic carboxylic dione trien hexaen diaza oxa
attempt attempts problem problems strategy strategies lesson lessons rule rules insight insights behavior verdict failed
""".split()

_CLOSING = ("Please reason step by step.", "Think step by step.", "Explain, then answer.", "", "")
_SMILES = "C C C c1ccccc1 O N =O (=O) (C) S Cl F [C@H] [nH] /C= \\C -] # 1 2 ( ) Br [O-] [N+] @ n o CC OC".split(" ")


def _sentence(rng: random.Random, low: int = 5, high: int = 18) -> str:
    words = [rng.choice(WORDS) for _ in range(rng.randint(low, high))]
    if rng.random() < 0.3:
        words.insert(rng.randrange(len(words)), _thing(rng))
    text = " ".join(words)
    return text[0].upper() + text[1:] + rng.choice((".", ".", "?", ":", ","))


def _thing(rng: random.Random, scale: int = 1) -> str:
    """A formula, a SMILES-like string, a sequence, a systematic name or a number."""
    kind = rng.randrange(6)
    if kind == 0:
        return "".join(
            f"{rng.choice(('C', 'H', 'N', 'O', 'La', 'Mn', 'Fe', 'Ni', 'S'))}{rng.randint(1, 30)}" for _ in range(4)
        )
    if kind == 1:
        return "".join(rng.choice(_SMILES) for _ in range(rng.randint(5, 25) * scale))
    if kind == 2:
        return "".join(rng.choice("ACDEFGHIKLMNPQRSTVWY") for _ in range(rng.randint(8, 40) * scale))
    if kind == 3:
        parts = [
            f"{rng.randint(1, 9)},{rng.randint(1, 9)}-{rng.choice(WORDS)}" for _ in range(rng.randint(1, 4) * scale)
        ]
        return f"({rng.randint(1, 9)}{rng.choice('RSEZ')})-" + "-".join(parts)
    if kind == 4:
        return f"{rng.uniform(-5, 300):.{rng.randint(0, 8)}f} {rng.choice(('g/mol', 'meV/atom', 'eV', 'K', '%', 'mL'))}"
    return str(rng.randint(0, 2000))


def _instructions(rng: random.Random, letters: str) -> str:
    """A system message that asks for the format, in one of many wordings, as other prompts would."""
    spread = rng.choice((" {} ", "\n{}\n", "{}"))
    reasoning = f"<reasoning>{spread.format('...')}</reasoning>"
    answer = f"<answer>{spread.format(rng.choice(('...', 'X', letters[0])))}</answer>"
    lines = [
        rng.choice(("Given a question and options, select the right one.", "Pick the correct option.", _sentence(rng))),
        rng.choice(
            ("Use this format:", "Answer in the following form:", "Respond in the format below:", _sentence(rng))
        ),
        f"{reasoning}\n{answer}",
    ]
    if rng.random() < 0.6:
        lines.append(f"Give only the letter ({', '.join(letters)}). {_sentence(rng)}")
    if rng.random() < 0.4:
        lines.append(f"For example, if the answer is {rng.choice(letters)}: {answer}")
    return "\n".join(lines)


def random_question(rng: random.Random, long: float = 0.08) -> tuple[str, str, str]:
    """(system message, question with lettered options, the letters). `long`: share of questions of up to 1,500 characters."""
    letters = "ABCD"[: rng.choice((2, 2, 3, 4, 4, 4, 4))]
    is_long = rng.random() < long
    text = " ".join(_sentence(rng) for _ in range(rng.randint(4, 40) if is_long else rng.randint(1, 3)))
    scale = rng.randint(1, 5) if is_long else 1
    in_words = rng.randrange(3) == 2
    options = "\n".join(f"{letter}: {_sentence(rng, 1, 6) if in_words else _thing(rng, scale)}" for letter in letters)
    closing = rng.choice(_CLOSING)
    gap = rng.choice(("\n\n", "\n\n", "\n"))
    return _instructions(rng, letters), f"{text}{gap}{options}" + (f"\n{closing}" if closing else ""), letters
