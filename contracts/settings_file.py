"""Reading a versioned setting from a YAML file, with an error that names file and key.

Belongs here: file → model. Does not belong here: any setting.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def read_setting(path: Path, model: type[Model], error: type[ValueError]) -> Model:
    """Read and check a file. Raises `error` naming file and key, FileNotFoundError where it is not there."""
    try:
        return model.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except yaml.YAMLError as wrong:
        raise error(f"{path}: not YAML: {wrong}") from wrong
    except ValidationError as wrong:
        told = [f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in wrong.errors()]
        raise error(f"{path}: {'; '.join(told)}") from wrong
