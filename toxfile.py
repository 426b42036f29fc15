"""tox looks for interpreters on the PATH only: this adds those of pyenv, which are on many machines of developers."""

import os
from pathlib import Path

_ROOT = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
os.environ["PATH"] = os.pathsep.join([os.environ["PATH"], *map(str, sorted(_ROOT.glob("versions/3.*/bin")))])
