"""Example cases of features: rows in, a time, a key, and the values that training and serving must both give."""

from __future__ import annotations

from likewise.cases.case import Approx as Approx
from likewise.cases.case import Case as Case
from likewise.cases.case import Expect as Expect
