"""BibTeX entries for the papers that the claims verify, and for this package."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from importlib.metadata import version

from .claim import Claim


@dataclass(frozen=True)
class Paper:
    """A bibliographic entry; `venue` holds further BibTeX fields."""

    key: str
    kind: str
    author: str
    title: str
    year: int
    arxiv: str = ""
    venue: tuple[tuple[str, str], ...] = ()

    def bibtex(self) -> str:
        """The entry in BibTeX."""
        fields = [("author", self.author), ("title", f"{{{self.title}}}"), ("year", str(self.year))]
        fields += self.venue
        if self.arxiv:
            fields += [("eprint", self.arxiv), ("archivePrefix", "arXiv")]
        lines = ",\n".join(f"  {name:<13} = {{{text}}}" for name, text in fields)
        return f"@{self.kind}{{{self.key},\n{lines}\n}}"


_NEURIPS = "Advances in Neural Information Processing Systems"

PAPERS = {
    "F": Paper(
        "beaglehole2023inconsistency",
        "article",
        "Beaglehole, Daniel and Belkin, Mikhail and Pandit, Parthe",
        "On the inconsistency of kernel ridgeless regression in fixed dimensions",
        2023,
        "2205.13525",
        (("journal", "SIAM Journal on Mathematics of Data Science"),),
    ),
    "C": Paper(
        "beaglehole2024alignment",
        "misc",
        "Beaglehole, Daniel and Mitliagkas, Ioannis and Agarwala, Atish",
        "Gradient descent induces alignment between weights and the empirical NTK for deep "
        "non-linear networks",
        2024,
        "2402.05271",
    ),
    "E": Paper(
        "radhakrishnan2024mechanism",
        "article",
        "Radhakrishnan, Adityanarayanan and Beaglehole, Daniel and Pandit, Parthe and Belkin, "
        "Mikhail",
        "Mechanism of feature learning in deep fully connected networks and kernel machines that "
        "recursively learn features",
        2024,
        "2212.13881",
        (("journal", "Science"),),
    ),
    "D": Paper(
        "beaglehole2023convolutional",
        "misc",
        "Beaglehole, Daniel and Radhakrishnan, Adityanarayanan and Pandit, Parthe and Belkin, "
        "Mikhail",
        "Mechanism of feature learning in convolutional neural networks",
        2023,
        "2309.00570",
    ),
    "B": Paper(
        "beaglehole2024collapse",
        "inproceedings",
        r"Beaglehole, Daniel and S{\'u}ken{\'i}k, Peter and Mondelli, Marco and Belkin, Mikhail",
        "Average gradient outer product as a mechanism for deep neural collapse",
        2024,
        "2402.13728",
        (("booktitle", _NEURIPS),),
    ),
    "A": Paper(
        "beaglehole2025aggregate",
        "misc",
        r"Beaglehole, Daniel and Radhakrishnan, Adityanarayanan and Boix-Adser{\`a}, Enric and "
        "Belkin, Mikhail",
        "Aggregate and conquer: detecting and steering LLM concepts by combining nonlinear "
        "predictors over multiple layers",
        2025,
        "2502.03708",
    ),
    "T": Paper(
        "tansley2025ansatz",
        "misc",
        "Tansley, Edward and Massart, Estelle and Cartis, Coralia",
        "On the Neural Feature Ansatz for Deep Neural Networks",
        2025,
        "2510.15563",
    ),
    "FACT": Paper(
        "boixadsera2025fact",
        "misc",
        r"Boix-Adser{\`a}, Enric and Mallinar, Neil and Simon, James B. and Belkin, Mikhail",
        "FACT: a first-principles alternative to the Neural Feature Ansatz for how networks learn "
        "representations",
        2025,
        "2507.05644",
    ),
    "L": Paper(
        "radhakrishnan2024linear",
        "misc",
        "Radhakrishnan, Adityanarayanan and Belkin, Mikhail and Drusvyatskiy, Dmitriy",
        "Linear recursive feature machines provably recover low-rank matrices",
        2024,
        "2401.04553",
    ),
    "S": Paper(
        "haas2023spikes",
        "inproceedings",
        r"Haas, Moritz and Holzm{\"u}ller, David and von Luxburg, Ulrike and Steinwart, Ingo",
        "Mind the spikes: Benign overfitting of kernels and neural networks in fixed dimension",
        2023,
        "2305.14077",
        (("booktitle", _NEURIPS),),
    ),
    "M": Paper(
        "mallinar2022taxonomy",
        "inproceedings",
        "Mallinar, Neil and Simon, James B. and Abedsoltan, Amirhesam and Pandit, Parthe and "
        "Belkin, Mikhail and Nakkiran, Preetum",
        "Benign, Tempered, or Catastrophic: A Taxonomy of Overfitting",
        2022,
        "2207.06569",
        (("booktitle", _NEURIPS),),
    ),
    "K": Paper(
        "simon2023eigenlearning",
        "article",
        "Simon, James B. and Dickens, Madeline and Karkada, Dhruva and DeWeese, Michael R.",
        "The Eigenlearning Framework: A Conservation Law Perspective on Kernel Ridge Regression "
        "and Wide Neural Networks",
        2023,
        "2110.03922",
        (("journal", "Transactions on Machine Learning Research"),),
    ),
    "G": Paper(
        "mallinar2024emergence",
        "misc",
        "Mallinar, Neil and Beaglehole, Daniel and Zhu, Libin and Radhakrishnan, Adityanarayanan "
        "and Pandit, Parthe and Belkin, Mikhail",
        "Emergence in non-neural models: grokking modular arithmetic via average gradient outer "
        "product",
        2024,
        "2407.20199",
    ),
}
"""The papers by the letters that claims name as their source."""

PACKAGE = Paper(
    "agoptheory",
    "misc",
    "{The agop-theory developers}",
    "agop-theory: the theory of AGOP and recursive feature machines, derived, certified and "
    "measured",
    2026,
)

OWN = ("here", "this project")
"""How a source names this project's own result."""


def papers_of(source: str) -> tuple[Paper, ...]:
    """The papers that a source names, as in "F (statement), here".

    Raises:
        ValueError: The source names something that is neither a paper's letter nor this project.
    """
    names = [name.strip() for name in re.sub(r"\([^)]*\)", "", source).split(",")]
    for name in names:
        if name not in PAPERS and name not in OWN:
            allowed = ", ".join((*PAPERS, *OWN))
            raise ValueError(f"source is {source!r}; allowed, separated by commas: {allowed}")
    return tuple(PAPERS[name] for name in names if name in PAPERS)


def cite(claim: Claim) -> str:
    """BibTeX of the papers that state a claim, and of this package with the claim's id."""
    own = replace(PACKAGE, venue=(("note", f"Version {version('agop-theory')}, claim {claim.id}"),))
    return "\n\n".join(paper.bibtex() for paper in (*papers_of(claim.source), own))
