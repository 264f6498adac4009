"""``make demo``: reconstruct a photograph, the public-domain astronaut portrait by default.

The default picture is NASA's portrait of Eileen Collins (public domain), which the installed scikit-image
package carries; nothing is downloaded.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backend.cli import main


def astronaut(folder: Path) -> Path:
    """Write scikit-image's astronaut portrait into ``folder`` and return its path."""
    from PIL import Image
    from skimage import data

    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "astronaut.png"
    Image.fromarray(data.astronaut()).save(path)
    return path


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photo", default="")
    parser.add_argument("--out", default="out/demo")
    parser.add_argument("--maps", default="1024")
    options = parser.parse_args()
    Path(options.out).mkdir(parents=True, exist_ok=True)
    photo = Path(options.photo) if options.photo else astronaut(Path(options.out) / "photo")
    sys.exit(main(["reconstruct", str(photo), "-o", options.out, "--maps", options.maps, "--overwrite"]))
