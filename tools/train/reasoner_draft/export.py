"""Write the trained draft model of the reasoner as a checkpoint folder."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import MODELS, RUNS
from reasoner.export import export


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=RUNS / "reasoner-draft-lk_lambda" / "best.pt")
    parser.add_argument("--out", type=Path, default=MODELS / "reasoner-draft")
    options = parser.parse_args()
    export(options.checkpoint, options.out)


if __name__ == "__main__":
    main()
